// Metrics, row by row, from the predictions a batch leaves behind; the executor adds the rows up.
#pragma once
#include "kernels/losses_regression.h"

namespace engine::ENGINE_ISA {
namespace {

/// Index of the first largest element.
ENGINE_INLINE int64_t argmax(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t j = 1; j < n; ++j) best = x[j] > x[best] ? j : best;
  return best;
}

/// 1 where the largest prediction is the target's class
struct CategoricalAccuracy {
  static constexpr Metric kKind = Metric::kCategoricalAccuracy;
  template <Target Kind>
  static ENGINE_INLINE float row(const float* y_pred, const TargetRow<Kind>& target, float) {
    const int64_t truth = Kind == Target::kSparse ? target.label : argmax(target.dense, target.n);
    return argmax(y_pred, target.n) == truth ? 1.0f : 0.0f;
  }
};

/// Share of outputs on the target's side of the threshold
struct BinaryAccuracy {
  static constexpr Metric kKind = Metric::kBinaryAccuracy;
  template <Target Kind>
  static ENGINE_INLINE float row(const float* y_pred, const TargetRow<Kind>& target, float threshold) {
    LaneSum hits;
    for_vectors(target.n, [&](int64_t j, int part) {
      const vf guess = load(y_pred + j) > threshold ? broadcast(1.0f) : vf{};
      const vf hit = guess == target.at(j) ? broadcast(1.0f) : vf{};
      hits.part[part] = hits.part[part] + masked(hit, j, target.n, vf{});
    });
    return hits.total() / static_cast<float>(target.n);
  }
};

struct MeanSquaredErrorMetric {
  static constexpr Metric kKind = Metric::kMeanSquaredError;
  template <Target Kind>
  static ENGINE_INLINE float row(const float* y_pred, const TargetRow<Kind>& target, float) {
    return MeanSquaredError::row(LossRow{y_pred, nullptr, nullptr, target.n, 0.0f, 1.0f, nullptr, false}, target);
  }
};

template <class M, Target Kind>
void metric_rows(const MetricRows& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    op.values[b] = M::row(op.y_pred + b * op.ld, TargetRow<Kind>(op.targets, b, op.n), op.threshold);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
