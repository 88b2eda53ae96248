// Metrics, row by row, from the predictions a batch leaves behind; the executor adds the rows up.
#pragma once
#include "kernels/losses.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Index of the first largest element.
ENGINE_INLINE int64_t argmax(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t j = 1; j < n; ++j) best = x[j] > x[best] ? j : best;
  return best;
}

/// Columns of a row for whose vectors `f(j)` is true: whole numbers, and so the same in any order.
template <class F>
ENGINE_INLINE float count_columns(int64_t n, F&& f) {
  LaneSum found;
  for_vectors(n, [&](int64_t j, int part) {
    found.part[part] = found.part[part] + masked(f(j) ? broadcast(1.0f) : vf{}, j, n, vf{});
  });
  return found.total();
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
    const auto hit = [&](int64_t j) {
      const vf guess = load(y_pred + j) > threshold ? broadcast(1.0f) : vf{};
      return guess == target.at(j);
    };
    return count_columns(target.n, hit) / static_cast<float>(target.n);
  }
};

/// 1 where fewer than k predictions are larger than that of the target's class
struct TopKCategoricalAccuracy {
  static constexpr Metric kKind = Metric::kTopKCategoricalAccuracy;
  template <Target Kind>
  static ENGINE_INLINE float row(const float* y_pred, const TargetRow<Kind>& target, float k) {
    const int64_t truth = Kind == Target::kSparse ? target.label : argmax(target.dense, target.n);
    if (truth < 0 || truth >= target.n) return 0.0f;  // a class that the loss ignores
    const vf own = broadcast(y_pred[truth]);
    return count_columns(target.n, [&](int64_t j) { return load(y_pred + j) > own; }) < k ? 1.0f : 0.0f;
  }
};

/// Share of outputs that equal the target
struct Accuracy {
  static constexpr Metric kKind = Metric::kAccuracy;
  template <Target Kind>
  static ENGINE_INLINE float row(const float* y_pred, const TargetRow<Kind>& target, float) {
    const auto hit = [&](int64_t j) { return load(y_pred + j) == target.at(j); };
    return count_columns(target.n, hit) / static_cast<float>(target.n);
  }
};

template <class M, Target Kind>
void metric_rows(const MetricRowsArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    op.values[b] = M::row(op.y_pred + b * op.ld, TargetRow<Kind>(op.targets, b, op.n), op.threshold);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
