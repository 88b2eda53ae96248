// Sums over samples that metrics are made from, added up by one thread in the order of the samples.
#pragma once
#include "kernels/metrics.h"

namespace engine::ENGINE_ISA {
namespace {

/// Whether output j is one of the k largest; of equal ones the first.
ENGINE_INLINE bool among_largest(const float* y_pred, int64_t n, int64_t j, int64_t k) {
  int64_t before = 0;
  for (int64_t i = 0; i < n; ++i) before += y_pred[i] > y_pred[j] || (y_pred[i] == y_pred[j] && i < j) ? 1 : 0;
  return before < k;
}

/// How many thresholds lie below x; none for a NaN.
ENGINE_INLINE int64_t thresholds_below(const TallyRows& op, float x) {
  if (!op.even) {
    int64_t below = 0;
    while (below < op.count && op.thresholds[below] < x) ++below;
    return below;
  }
  const float scaled = (x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f) * static_cast<float>(op.count - 1);
  const auto whole = static_cast<int64_t>(scaled);
  const int64_t below = whole + (static_cast<float>(whole) < scaled ? 1 : 0);
  return op.below_zero && below == 0 ? 1 : below;
}

struct Thresholds {
  static constexpr Tally kKind = Tally::kThresholds;
  template <Target Kind>
  static ENGINE_INLINE void row(const TallyRows& op, const float* y_pred, const TargetRow<Kind>& target, double w) {
    const int64_t bins = op.count + 1, first = op.column < 0 ? 0 : op.column;
    const int64_t end = op.column < 0 ? op.n : op.column + 1;
    for (int64_t j = first; j < end; ++j) {
      float x = op.logits ? sigmoid(broadcast(y_pred[j]))[0] : y_pred[j];
      if (op.top_k > 0 && !among_largest(y_pred, op.n, j, op.top_k)) x = kBelowAll;
      const int64_t positive = target.one(j) != 0.0f ? 1 : 0;
      op.state[((op.by_column ? j : 0) * 2 + positive) * bins + thresholds_below(op, x)] += w;
    }
  }
};

struct FScore {
  static constexpr Tally kKind = Tally::kFScore;
  template <Target Kind>
  static ENGINE_INLINE void row(const TallyRows& op, const float* y_pred, const TargetRow<Kind>& target, double w) {
    constexpr float kNothing = 1e-9f;  // Keras: the largest output counts only if it is more than that
    const float largest = y_pred[argmax(y_pred, op.n)];
    for (int64_t j = 0; j < op.n; ++j) {
      const float x = y_pred[j];
      const bool guess = op.count > 0 ? x > op.thresholds[0] : x >= largest && (x > kNothing || x < -kNothing);
      const double t = target.one(j), hit = guess ? w : 0.0, miss = w - hit;
      double* state = op.state + 3 * j;
      state[0] += hit * t;
      state[1] += hit * (1.0 - t);
      state[2] += miss * t;
    }
  }
};

struct Confusion {
  static constexpr Tally kKind = Tally::kConfusion;
  template <Target Kind>
  static ENGINE_INLINE void row(const TallyRows& op, const float* y_pred, const TargetRow<Kind>& target, double w) {
    if (op.n == 1) {  // two classes, told apart by one output
      const int64_t truth = target.one(0) != 0.0f ? 1 : 0, guess = y_pred[0] > op.thresholds[0] ? 1 : 0;
      op.state[truth * 2 + guess] += w;
      return;
    }
    const int64_t truth = Kind == Target::kSparse ? target.label : argmax(target.dense, op.n);
    if (truth >= 0 && truth < op.n) op.state[truth * op.n + argmax(y_pred, op.n)] += w;
  }
};

struct Moments {
  static constexpr Tally kKind = Tally::kMoments;
  template <Target Kind>
  static ENGINE_INLINE void row(const TallyRows& op, const float* y_pred, const TargetRow<Kind>& target, double w) {
    for (int64_t j = 0; j < op.n; ++j) {
      const double t = target.one(j), e = t - static_cast<double>(y_pred[j]);
      double* state = op.state + 4 * j;
      state[0] += w * t;
      state[1] += w * t * t;
      state[2] += w * e * e;
      state[3] += w;
    }
    op.state[4 * op.n] += static_cast<double>(op.n);
  }
};

template <class M, Target Kind>
void tally_rows(const TallyRows& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const int64_t row = op.targets.order ? op.targets.order[op.targets.first + b] : op.targets.first + b;
    const double w = op.sample_weight ? static_cast<double>(op.sample_weight[row]) : 1.0;
    M::row(op, op.y_pred + b * op.ld, TargetRow<Kind>(op.targets, b, op.n), w);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
