// Metrics that are made from sums over all samples (MetricSum in formulas/kinds.h lists them): counts by threshold,
// F-score counts, confusion matrices and moments. One thread adds them up, in the order of the samples and in double.
#pragma once
#include "kernels/metrics.h"

namespace engine::ENGINE_ISA {
namespace {

/// Calls f(y_pred, target, weight) for every sample.
template <Target Kind, class F>
ENGINE_INLINE void for_samples(const MetricSumRowsArgs& op, F&& f) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    f(op.y_pred + b * op.ld, TargetRow<Kind>(op.targets, b, op.n),
      op.sample_weight ? static_cast<double>(op.sample_weight[data_row(op.targets, b)]) : 1.0);
  }
}

/// The lanes of the vector at column j that the metric counts.
ENGINE_INLINE vi counted_lanes(const MetricSumRowsArgs& op, int64_t j) {
  const vi lane = iota(static_cast<int32_t>(j));
  return op.column < 0 ? lane < static_cast<int32_t>(op.n) - vi{} : lane == static_cast<int32_t>(op.column) - vi{};
}

/// Tells the k largest numbers of a row from the others. Of equal ones the first are the largest.
class Largest {
 public:
  Largest(const float* x, int64_t n, int64_t k) {
    if (k <= 0 || k >= n) return;
    least_ = kInfinity;
    last_ = -1;
    for (int64_t i = 0; i < k; ++i) next(x, n);
  }

  ENGINE_INLINE vi has(vf x, int64_t j) const {
    return (x > least_) | ((x == least_) & (iota(static_cast<int32_t>(j)) <= last_));
  }
  bool has(float x, int64_t j) const { return x > least_ || (x == least_ && j <= last_); }
  float least() const { return least_; }

 private:
  /// Finds the next largest.
  ENGINE_INLINE void next(const float* x, int64_t n) {
    const auto left = [&](vf v, int64_t j) {
      return ~has(v, j) & (iota(static_cast<int32_t>(j)) < static_cast<int32_t>(n) - vi{});
    };
    vf most = broadcast(-kInfinity);
    for (int64_t j = 0; j < n; j += kWidth) {
      const vf v = load(x + j);
      most = larger_of(left(v, j) ? v : most, most);
    }
    const float least = fold(most, larger_of);
    for (int64_t j = 0; j < n; j += kWidth) {
      const vf v = load(x + j);
      const uint32_t found = lane_bits(left(v, j) & (v == least));
      if (!found) continue;
      last_ = static_cast<int32_t>(j) + __builtin_ctz(found);
      least_ = least;
      return;
    }
  }

  float least_ = -kInfinity;  // of those found so far ...
  int32_t last_ = INT32_MAX;  // ... and the column of the last that is equal to it
};

/// How many thresholds lie below x; none for a NaN.
ENGINE_INLINE int64_t thresholds_below(const MetricSumRowsArgs& op, float x) {
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

/// Counts of outputs by target (0 or not) and by the number of thresholds below the output: what precision, recall and
/// AUC are made of.
struct Thresholds {
  static constexpr MetricSum kKind = MetricSum::kThresholds;
  /// Up to so many, comparing an output with each takes less time than looking up its place among them.
  static constexpr int kFew = 4;

  template <Target Kind>
  static void rows(const MetricSumRowsArgs& op) {
    if (!op.sample_weight && !op.by_column && !op.even && op.count <= kFew) return count<Kind>(op);
    const int64_t bins = op.count + 1, first = op.column < 0 ? 0 : op.column;
    const int64_t end = op.column < 0 ? op.n : op.column + 1;
    for_samples<Kind>(op, [&](const float* y_pred, const TargetRow<Kind>& target, double w) {
      const Largest largest(y_pred, op.n, op.top_k);
      for (int64_t j = first; j < end; ++j) {
        float x = op.logits ? sigmoid(broadcast(y_pred[j]))[0] : y_pred[j];
        if (op.top_k > 0 && !largest.has(y_pred[j], j)) x = kBelowAll;
        const int64_t positive = target.one(j) != 0.0f ? 1 : 0;
        op.state[((op.by_column ? j : 0) * 2 + positive) * bins + thresholds_below(op, x)] += w;
      }
    });
  }

 private:
  /// Each lane counts its outputs above each threshold; counter 0 counts all outputs.
  template <Target Kind>
  static void count(const MetricSumRowsArgs& op) {
    vi above[2][kFew + 1] = {};  // whatever the target is, and where it is not 0
    for_samples<Kind>(op, [&](const float* y_pred, const TargetRow<Kind>& target, double) {
      const Largest largest(y_pred, op.n, op.top_k);
      for (int64_t j = 0; j < op.n; j += kWidth) {
        const vf y = load(y_pred + j), x = op.logits ? sigmoid(y) : y;
        const vi positive = target.at(j) != 0.0f;
        vi hit = counted_lanes(op, j);
        above[0][0] -= hit;
        above[1][0] -= hit & positive;
        if (op.top_k > 0) hit &= largest.has(y, j);
        for (int64_t i = 0; i < op.count; ++i) {
          hit &= x > op.thresholds[i];
          above[0][i + 1] -= hit;
          above[1][i + 1] -= hit & positive;
        }
      }
    });
    double counts[2][kFew + 2] = {};
    for (int64_t i = 0; i <= op.count; ++i) {
      for (int l = 0; l < kWidth; ++l) {
        counts[1][i] += static_cast<double>(above[1][i][l]);
        counts[0][i] += static_cast<double>(above[0][i][l] - above[1][i][l]);
      }
    }
    for (int64_t positive = 0; positive < 2; ++positive) {
      double* state = op.state + positive * (op.count + 1);
      for (int64_t i = 0; i <= op.count; ++i) state[i] += counts[positive][i] - counts[positive][i + 1];
    }
  }
};

/// Weights of true positives, false positives and false negatives by class.
struct FScore {
  static constexpr MetricSum kKind = MetricSum::kFScore;
  template <Target Kind>
  static void rows(const MetricSumRowsArgs& op) {
    constexpr float kNothing = 1e-9f;  // Keras: the largest output counts only if it is more than that
    for_samples<Kind>(op, [&](const float* y_pred, const TargetRow<Kind>& target, double w) {
      const float least = op.count > 0 ? op.thresholds[0] : Largest(y_pred, op.n, 1).least();
      for (int64_t j = 0; j < op.n; j += kWidth) {
        const vf x = load(y_pred + j);
        const vi guess = op.count > 0 ? x > least : (x >= least) & ((x > kNothing) | (x < -kNothing));
        const uint32_t guesses = lane_bits(guess);
        // Where there is neither a guess nor a target, there is nothing to add.
        uint32_t some = lane_bits((guess | (target.at(j) != 0.0f)) & counted_lanes(op, j));
        for (; some; some &= some - 1) {
          const int l = __builtin_ctz(some);
          const double t = target.one(j + l), hit = guesses >> l & 1 ? w : 0.0, miss = w - hit;
          double* state = op.state + 3 * (j + l);
          state[0] += hit * t;
          state[1] += hit * (1.0 - t);
          state[2] += miss * t;
        }
      }
    });
  }
};

/// Weights by true class and predicted class.
struct Confusion {
  static constexpr MetricSum kKind = MetricSum::kConfusion;
  template <Target Kind>
  static void rows(const MetricSumRowsArgs& op) {
    for_samples<Kind>(op, [&](const float* y_pred, const TargetRow<Kind>& target, double w) {
      if (op.n == 1) {  // two classes, told apart by one output
        const int64_t truth = target.one(0) != 0.0f ? 1 : 0, guess = y_pred[0] > op.thresholds[0] ? 1 : 0;
        op.state[truth * 2 + guess] += w;
        return;
      }
      const int64_t truth = Kind == Target::kSparse ? target.label : argmax(target.dense, op.n);
      if (truth >= 0 && truth < op.n) op.state[truth * op.n + argmax(y_pred, op.n)] += w;
    });
  }
};

typedef double vd __attribute__((vector_size(ENGINE_VECTOR_BYTES)));

/// The lanes of a vector as doubles, in two vectors.
struct Doubles {
  vd half[2];

  ENGINE_INLINE Doubles(double x) : half{x - vd{}, x - vd{}} {}
  ENGINE_INLINE Doubles(vf v) {
    typedef float vh __attribute__((vector_size(ENGINE_VECTOR_BYTES / 2)));
    vh part[2];
    std::memcpy(part, &v, sizeof part);
    for (int h = 0; h < 2; ++h) half[h] = __builtin_convertvector(part[h], vd);
  }
};

/// Sums of w t, w t^2, w (t - y)^2 and w by output, which R^2 is made of.
struct R2Sums {
  static constexpr MetricSum kKind = MetricSum::kMoments;
  static constexpr int kSums = 4;

  template <Target Kind>
  static void rows(const MetricSumRowsArgs& op) {
    for (int64_t j = 0; j < op.n; j += kWidth) {
      double sums[kSums][kWidth] = {};
      const int64_t count = op.n - j < kWidth ? op.n - j : kWidth;
      double* state = op.state + kSums * j;
      for (int64_t l = 0; l < count * kSums; ++l) sums[l % kSums][l / kSums] = state[l];
      add_columns<Kind>(op, j, sums);
      for (int64_t l = 0; l < count * kSums; ++l) state[l] = sums[l % kSums][l / kSums];
    }
    op.state[kSums * op.n] += static_cast<double>((op.rows.end - op.rows.begin) * op.n);
  }

 private:
  template <Target Kind>
  static ENGINE_INLINE void add_columns(const MetricSumRowsArgs& op, int64_t j, double (&sums)[kSums][kWidth]) {
    vd sum[kSums][2];
    std::memcpy(sum, sums, sizeof sum);
    for_samples<Kind>(op, [&](const float* y_pred, const TargetRow<Kind>& target, double weight) {
      const Doubles t(target.at(j)), y(load(y_pred + j)), w(weight);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const vd wt = w.half[h] * t.half[h], e = t.half[h] - y.half[h];
        sum[0][h] += wt;
        sum[1][h] += wt * t.half[h];
        sum[2][h] += w.half[h] * e * e;
        sum[3][h] += w.half[h];
      }
    });
    std::memcpy(sums, sum, sizeof sum);
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
