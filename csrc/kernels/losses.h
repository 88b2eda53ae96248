// Losses: that of a row and, where wanted, its gradient with respect to what the row holds. A formula is written once,
// for a row whose columns lie in the lanes of vectors, and for rows in the lanes (narrow_rows.h). Class indices and
// dense targets share it as well: an index is read as its one-hot row.
#pragma once
#include "kernels/math.h"
#include "kernels/row_activations.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Keras' epsilon: probabilities are clipped to [kFuzz, 1 - kFuzz].
constexpr float kFuzz = 1e-7f;

/// Up to kWidth floats of an unpadded row; lanes from n on are zero.
ENGINE_INLINE vf load_row(const float* row, int64_t j, int64_t n) {
  if (j + kWidth <= n) return load(row + j);
  return j < n ? load_part(row + j, n - j) : vf{};
}

/// Where row `b` of a batch lies in the data set. Not inlined, as every loss and metric asks for it.
__attribute__((noinline)) inline int64_t data_row(const Targets& targets, int64_t b) { return targets.row(b); }

/// The target of one row; `at(j)` gives lanes j ... of it, 0 from column n on.
template <Target Kind>
struct TargetRow {
  const float* dense;
  int32_t label;
  int64_t n;

  /// A label that is `ignored` becomes a row of zeros, which no formula charges for.
  TargetRow(const Targets& targets, int64_t b, int64_t width, int32_t ignored = -1)
      : dense(nullptr), label(0), n(width) {
    const int64_t row = data_row(targets, b);
    if constexpr (Kind == Target::kSparse) {
      label = targets.labels[row] == ignored ? -1 : targets.labels[row];
    } else {
      dense = targets.dense + row * width;
    }
  }

  /// Element j, not of a pad.
  ENGINE_INLINE float one(int64_t j) const {
    if constexpr (Kind == Target::kSparse) {
      return label == j ? 1.0f : 0.0f;
    } else {
      return dense[j];
    }
  }

  ENGINE_INLINE vf at(int64_t j) const {
    if constexpr (Kind == Target::kSparse) {
      return iota(static_cast<int32_t>(j)) == label - vi{} ? broadcast(1.0f) : vf{};
    } else {
      return load_row(dense, j, n);
    }
  }
};

/// One row of work: x (n,) -> loss, y (n,) and dx (n,), whose pads become zero. Formulas ask it, or LossColumns for
/// several rows, for what they need: the elements at column j, as vectors, and `Each`, a number of every row.
struct LossRow {
  using Each = float;

  const float* x;
  float* y;
  float* dx;
  int64_t n;
  float smoothing, scale;
  const float* parameters;
  bool binary;

  ENGINE_INLINE vf at(int64_t j) const { return load(x + j); }
  ENGINE_INLINE vf without_pads(int64_t j, vf v) const { return masked(v, j, n, vf{}); }

  /// Probabilities, which are what the model predicts where the loss reads logits.
  ENGINE_INLINE void keep(int64_t j, vf p) const { store(y + j, p); }
  ENGINE_INLINE vf kept(int64_t j) const { return load(y + j); }

  ENGINE_INLINE bool has_gradient() const { return dx != nullptr; }
  ENGINE_INLINE void set_gradient(int64_t j, vf slope) const { store(dx + j, without_pads(j, slope)); }
  ENGINE_INLINE vf gradient(int64_t j) const { return load(dx + j); }

  template <class F>
  ENGINE_INLINE void for_columns(F&& f) const {
    for_vectors(n, [&](int64_t j, int) { f(j); });
  }

  /// Sums over the columns, to which `add(j, sums)` adds. Pads may hold anything, such as NaN once training diverged.
  template <int N, class F>
  ENGINE_INLINE void sum(float (&totals)[N], F&& add) const {
    LaneSum lanes[N];
    for_vectors(n, [&](int64_t j, int part) {
      vf sums[N];
#pragma GCC unroll 3
      for (int s = 0; s < N; ++s) sums[s] = lanes[s].part[part];
      add(j, sums);
#pragma GCC unroll 3
      for (int s = 0; s < N; ++s) lanes[s].part[part] = masked(sums[s], j, n, lanes[s].part[part]);
    });
#pragma GCC unroll 3
    for (int s = 0; s < N; ++s) totals[s] = lanes[s].total();
  }

  /// The largest f(j).
  template <class F>
  ENGINE_INLINE float largest(F&& f) const {
    return row_largest(n, f);
  }

  template <class F>
  static ENGINE_INLINE float apply(F&& f, float value) {
    return f(broadcast(value))[0];
  }
};

/// A target of class probabilities, some of it spread over all classes.
template <class R, class T>
ENGINE_INLINE auto smoothed(const R& r, const T& target) {
  const vf keep = broadcast(1.0f - r.smoothing), shift = broadcast(r.smoothing / static_cast<float>(r.n));
  return [&target, keep, shift](int64_t j) { return fma(target.at(j), keep, shift); };
}

template <class Each>
struct Exponentials {
  Each largest, sum;
};

/// Keeps exp(x - max(x)).
template <class R>
ENGINE_INLINE Exponentials<typename R::Each> exponentials(R& r) {
  const auto largest = r.largest([&](int64_t j) { return r.at(j); });
  typename R::Each total[1];
  r.sum(total, [&](int64_t j, vf* sums) {
    const vf e = r.without_pads(j, exp(r.at(j) - largest));
    r.keep(j, e);
    sums[0] = sums[0] + e;
  });
  return {largest, total[0]};
}

/// -sum(t log softmax(x)): with z = x - max, sum(t (log sum(exp z) - z)); gradient p sum(t) - t
struct SoftmaxCrossentropy {
  static constexpr Loss kKind = Loss::kSoftmaxCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const auto t = smoothed(r, target);
    const auto e = exponentials(r);
    const auto log_sum = R::apply([](vf v) { return log(v); }, e.sum);
    typename R::Each sums[2];  // of the loss and of t
    r.sum(sums, [&](int64_t j, vf* parts) {
      parts[0] = fma(t(j), log_sum - (r.at(j) - e.largest), parts[0]);
      parts[1] = parts[1] + t(j);
      r.keep(j, r.kept(j) / e.sum);
    });
    if (r.has_gradient()) {
      r.for_columns([&](int64_t j) { r.set_gradient(j, (r.kept(j) * sums[1] - t(j)) * r.scale); });
    }
    return sums[0];
  }
};

/// -sum(t log(clip(x / sum(x)))): probabilities, renormalised
struct Crossentropy {
  static constexpr Loss kKind = Loss::kCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const auto smooth = smoothed(r, target);
    typename R::Each total[1], sums[2];  // of x; of the loss, and of p times the slope by it
    r.sum(total, [&](int64_t j, vf* sum) { sum[0] = sum[0] + r.at(j); });
    r.sum(sums, [&](int64_t j, vf* sum) {
      const vf t = smooth(j), p = r.at(j) / total[0];
      const vf q = clamp(p, kFuzz, 1.0f - kFuzz);
      sum[0] = sum[0] - t * log(q);
      if (r.has_gradient()) {
        // d/dp, zero where clipped; then through p = x / sum
        const vf slope = p == q ? -t / q : vf{};
        sum[1] = fma(slope, p, sum[1]);
        r.set_gradient(j, slope);
      }
    });
    if (r.has_gradient()) {
      r.for_columns([&](int64_t j) { r.set_gradient(j, (r.gradient(j) - sums[1]) / total[0] * r.scale); });
    }
    return sums[0];
  }
};

/// A loss by element, summed over the row's n outputs and multiplied by `share`; F gives value and slope per vector.
template <class R, class T, class F>
ENGINE_INLINE auto sum_row(R& r, const T& target, float share, F&& f) {
  typename R::Each loss[1];
  r.sum(loss, [&](int64_t j, vf* sums) {
    vf slope;
    sums[0] = sums[0] + f(r.at(j), target.at(j), j, slope);
    if (r.has_gradient()) r.set_gradient(j, slope * (share * r.scale));
  });
  return loss[0] * share;
}

template <class R, class T, class F>
ENGINE_INLINE auto mean_row(R& r, const T& target, F&& f) {
  return sum_row(r, target, 1.0f / static_cast<float>(r.n), f);
}

/// max(x, 0) - x t + log(1 + exp(-|x|)) for logits x; gradient sigmoid(x) - t
struct SigmoidCrossentropy {
  static constexpr Loss kKind = Loss::kSigmoidCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const vf keep = broadcast(1.0f - r.smoothing), shift = broadcast(0.5f * r.smoothing);
    return mean_row(r, target, [&](vf x, vf raw, int64_t j, vf& slope) {
      const vf t = fma(raw, keep, shift);
      const vf p = sigmoid(x);
      r.keep(j, p);
      slope = p - t;
      return (x < 0.0f ? vf{} : x) - x * t + log1p_unit(exp(-abs(x)));
    });
  }
};

/// -(t log p + (1 - t) log(1 - p)) with p clipped; gradient zero where clipped
struct BinaryCrossentropy {
  static constexpr Loss kKind = Loss::kBinaryCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const vf keep = broadcast(1.0f - r.smoothing), shift = broadcast(0.5f * r.smoothing);
    const vf low = broadcast(kFuzz), high = broadcast(1.0f - kFuzz);
    return mean_row(r, target, [&](vf x, vf raw, int64_t, vf& slope) {
      const vf t = fma(raw, keep, shift);
      const vf p = x < low ? low : x > high ? high : x;
      slope = ((x >= low) & (x <= high)) ? (p - t) / (p * (1.0f - p)) : vf{};
      return -(t * log(p) + (1.0f - t) * log(1.0f - p));
    });
  }
};

/// What the gradient of row b is multiplied by.
ENGINE_INLINE float row_scale(const LossRows& op, int64_t b) {
  return op.sample_weight ? op.scale * op.sample_weight[data_row(op.targets, b)] : op.scale;
}

/// Flattened, as that for columns is: what a formula sums is asked for in two places, and GCC would call it.
template <class L, Target Kind>
__attribute__((flatten)) void loss_rows(const LossRows& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const TargetRow<Kind> target(op.targets, b, op.n, op.ignored);
    LossRow row{op.x + b * op.ld,
                op.y_pred ? op.y_pred + b * op.ld : nullptr,
                op.dx ? op.dx + b * op.ld : nullptr,
                op.n,
                op.label_smoothing,
                row_scale(op, b),
                op.parameters,
                op.binary};
    op.losses[b] = L::row(row, target);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
