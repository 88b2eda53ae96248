// Metrics, row by row, from the predictions a batch leaves behind; the executor adds the rows up.
#pragma once
#include "kernels/losses.h"
#include "kernels/metric_table.h"

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

/// 1 where fewer than k predictions are larger than that of the target's class
struct TopKCategoricalAccuracy {
  static constexpr Metric kKind = Metric::kTopKCategoricalAccuracy;
  template <Target Kind>
  static ENGINE_INLINE float row(const float* y_pred, const TargetRow<Kind>& target, float k) {
    const int64_t truth = Kind == Target::kSparse ? target.label : argmax(target.dense, target.n);
    if (truth < 0 || truth >= target.n) return 0.0f;  // a class that the loss ignores
    float larger = 0.0f;
    for (int64_t j = 0; j < target.n; ++j) larger += y_pred[j] > y_pred[truth] ? 1.0f : 0.0f;
    return larger < k ? 1.0f : 0.0f;
  }
};

/// Share of outputs that equal the target
struct Accuracy {
  static constexpr Metric kKind = Metric::kAccuracy;
  template <Target Kind>
  static ENGINE_INLINE float row(const float* y_pred, const TargetRow<Kind>& target, float) {
    float hits = 0.0f;
    for (int64_t j = 0; j < target.n; ++j) hits += y_pred[j] == target.one(j) ? 1.0f : 0.0f;
    return hits / static_cast<float>(target.n);
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
