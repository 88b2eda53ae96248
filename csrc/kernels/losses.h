// Losses, row by row: the loss and, where wanted, its gradient with respect to what the row holds. Class
// indices and dense targets share every formula: an index is read as its one-hot row.
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

/// One row of work: x (n,) -> loss, y (n,) and dx (n,); pads of dx become zero.
struct LossRow {
  const float* x;
  float* y;
  float* dx;
  int64_t n;
  float smoothing, scale;
  const float* parameters;
  bool binary;

  /// A probability of which the gradient will be made.
  ENGINE_INLINE void keep(int64_t j, vf p) const { store(y + j, p); }
};

/// -sum(t log softmax(x)): with z = x - max, sum(t (log sum(exp z) - z)); gradient p sum(t) - t
struct SoftmaxCrossentropy {
  static constexpr Loss kKind = Loss::kSoftmaxCrossentropy;
  template <class T>
  static ENGINE_INLINE float row(const LossRow& r, const T& target) {
    float largest, sum;
    exp_row(r.x, r.y, r.n, largest, sum);
    const float log_sum = log1(sum);
    const vf keep = broadcast(1.0f - r.smoothing), shift = broadcast(r.smoothing / static_cast<float>(r.n));
    LaneSum loss, mass;
    for_vectors(r.n, [&](int64_t j, int part) {
      const vf t = masked(fma(target.at(j), keep, shift), j, r.n, vf{});
      const vf surprise = log_sum - masked(load(r.x + j) - largest, j, r.n, vf{});
      loss.part[part] = fma(t, surprise, loss.part[part]);
      mass.part[part] = mass.part[part] + t;
      store(r.y + j, load(r.y + j) / sum);
    });
    if (r.dx) {
      const float total = mass.total();
      for_vectors(r.n, [&](int64_t j, int) {
        const vf t = masked(fma(target.at(j), keep, shift), j, r.n, vf{});
        store(r.dx + j, (load(r.y + j) * total - t) * r.scale);
      });
    }
    return loss.total();
  }
};

/// -sum(t log(clip(x / sum(x)))): probabilities, renormalised
struct Crossentropy {
  static constexpr Loss kKind = Loss::kCrossentropy;
  template <class T>
  static ENGINE_INLINE float row(const LossRow& r, const T& target) {
    LaneSum lanes;
    for_vectors(
        r.n, [&](int64_t j, int part) { lanes.part[part] = lanes.part[part] + masked(load(r.x + j), j, r.n, vf{}); });
    const float sum = lanes.total();
    const vf keep = broadcast(1.0f - r.smoothing), shift = broadcast(r.smoothing / static_cast<float>(r.n));
    const vf low = broadcast(kFuzz), high = broadcast(1.0f - kFuzz);
    LaneSum loss, moment;
    for_vectors(r.n, [&](int64_t j, int part) {
      const vf t = masked(fma(target.at(j), keep, shift), j, r.n, vf{});
      const vf p = masked(load(r.x + j) / sum, j, r.n, vf{});  // a pad may be NaN once training diverged
      const vf clipped = p < low ? low : p > high ? high : p;
      loss.part[part] = loss.part[part] - t * log(clipped);
      if (r.dx) {
        // d/dp, zero where clipped; then through p = x / sum
        const vf slope = ((p >= low) & (p <= high)) ? -t / clipped : vf{};
        moment.part[part] = fma(slope, p, moment.part[part]);
        store(r.dx + j, slope);
      }
    });
    if (r.dx) {
      const float mean = moment.total();
      for_vectors(
          r.n, [&](int64_t j, int) { store(r.dx + j, masked((load(r.dx + j) - mean) / sum * r.scale, j, r.n, vf{})); });
    }
    return loss.total();
  }
};

/// A loss by element, summed over the row's n outputs and multiplied by `share`; F gives value and slope per vector.
template <class T, class F>
ENGINE_INLINE float sum_row(const LossRow& r, const T& target, float share, F&& f) {
  LaneSum loss;
  for_vectors(r.n, [&](int64_t j, int part) {
    vf slope;
    const vf value = f(load(r.x + j), target.at(j), j, slope);
    loss.part[part] = loss.part[part] + masked(value, j, r.n, vf{});
    if (r.dx) store(r.dx + j, masked(slope * (share * r.scale), j, r.n, vf{}));
  });
  return loss.total() * share;
}

template <class R, class T, class F>
ENGINE_INLINE auto mean_row(R& r, const T& target, F&& f) {
  return sum_row(r, target, 1.0f / static_cast<float>(r.n), f);
}

ENGINE_INLINE vf clipped(vf x, float low, float high) {
  return x < low ? broadcast(low) : x > high ? broadcast(high) : x;
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

template <class L, Target Kind>
void loss_rows(const LossRows& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const TargetRow<Kind> target(op.targets, b, op.n, op.ignored);
    const LossRow row{op.x + b * op.ld,
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
