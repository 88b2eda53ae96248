// Losses. Each is a struct with `row`, which computes the loss of one row of outputs and, where it is wanted, the
// gradient with respect to that row. Functions that users write get a loss from the first part, which a number type
// records and derives by itself (graph/operations/loss_code.h). So choices in it are calls of `select`, `at_least`
// and `at_most`, and at a corner it is written such that its derivative is that of Keras.
//
// A formula sees the numbers through two arguments, so that it does not know where they lie: one row with its columns
// in the lanes of vectors, many rows with one row per lane, or a row of plain floats. `target.at(j)` is the target at
// column j, a row of zeros for a label that is to be ignored. Of r it uses:
//     V, Each                  the type of the numbers at a column, and of one number per row
//     n                        columns
//     smoothing, parameters    of the loss
//     binary                   whether all targets of the data set are 0 or 1, which hinges read as -1 and 1
//     scale                    what the gradient is multiplied by
//     at(j)                    the outputs x at column j
//     keep(j, v), kept(j)      write and read numbers beside x: the probabilities that a loss of logits predicts
//     has_gradient()           whether the gradient is wanted
//     set_gradient(j, v), gradient(j)    write and read it
//     for_columns(f)           calls f(j) for every column, or for every vector of columns
//     sum(totals, add)         sums over the columns, in the engine's order; add(j, sums) adds the terms of column j
//     largest(f)               the largest f(j)
//     without_pads(j, v)       v, with zeros in lanes that lie beyond column n
//     apply(f, value)          f of one number per row
#pragma once
#include "formulas/kinds.h"
#include "formulas/row_activations.h"

namespace engine::formulas {
namespace {

/// Keras' epsilon: probabilities are clipped to [kFuzz, 1 - kFuzz].
constexpr float kFuzz = 1e-7f;

/// A probability, of which and of whose complement there is a logarithm.
template <class V>
ENGINE_INLINE V clipped(V p) {
  return at_most(at_least(p, kFuzz), 1.0f - kFuzz);
}

/// The target at column j with label smoothing: (1 - smoothing) t + smoothing / n.
template <class R, class T>
ENGINE_INLINE auto smoothed(const R& r, const T& target) {
  using V = typename R::V;
  const V keep = broadcast<V>(1.0f - r.smoothing), shift = broadcast<V>(r.smoothing / static_cast<float>(r.n));
  return [&target, keep, shift](int64_t j) { return fma(target.at(j), keep, shift); };
}

/// -sum(t log softmax(x)) of logits x: with z = x - max(x), it is sum(t (log(sum(exp(z))) - z)). With p = softmax(x),
/// dx = p sum(t) - t. Keeps p.
struct SoftmaxCrossentropy {
  static constexpr Loss kKind = Loss::kSoftmaxCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const auto t = smoothed(r, target);
    const auto e = exponentials(r);
    const auto log_sum = R::apply([](V v) { return log(v); }, e.sum);
    typename R::Each sums[2];  // of the loss and of t
    r.sum(sums, [&](int64_t j, V* parts) {
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

/// -sum(t log(q)) of probabilities x, renormalized to p = x / sum(x) and clipped to q. Where p is clipped its slope is
/// 0, else -t / p; through p = x / sum(x), dx = (slope - sum(slope p)) / sum(x).
struct Crossentropy {
  static constexpr Loss kKind = Loss::kCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const auto smooth = smoothed(r, target);
    typename R::Each total[1], sums[2];  // of x; of the loss, and of p times its derivative by p
    r.sum(total, [&](int64_t j, V* sum) { sum[0] = sum[0] + r.at(j); });
    r.sum(sums, [&](int64_t j, V* sum) {
      const V t = smooth(j), p = r.at(j) / total[0];
      const V q = clipped(p);
      sum[0] = sum[0] - t * log(q);
      if (r.has_gradient()) {
        // d/dp, zero where clipped; then through p = x / sum
        const V slope = select(p == q, -t / q, V{});
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

/// share sum(f) over the columns; f(x, t, j, slope) gives the loss at column j and its derivative by x.
template <class R, class T, class F>
ENGINE_INLINE auto sum_row(R& r, const T& target, float share, F&& f) {
  using V = typename R::V;
  typename R::Each loss[1];
  r.sum(loss, [&](int64_t j, V* sums) {
    V slope;
    sums[0] = sums[0] + f(r.at(j), target.at(j), j, slope);
    if (r.has_gradient()) r.set_gradient(j, slope * (share * r.scale));
  });
  return loss[0] * share;
}

template <class R, class T, class F>
ENGINE_INLINE auto mean_row(R& r, const T& target, F&& f) {
  return sum_row(r, target, 1.0f / static_cast<float>(r.n), f);
}

/// -(t log(p) + (1 - t) log(1 - p)) with p = sigmoid(x) of logits x, which is max(x, 0) - x t + log(1 + exp(-|x|));
/// dx = p - t. Keeps p.
struct SigmoidCrossentropy {
  static constexpr Loss kKind = Loss::kSigmoidCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const V keep = broadcast<V>(1.0f - r.smoothing), shift = broadcast<V>(0.5f * r.smoothing);
    return mean_row(r, target, [&](V x, V raw, int64_t j, V& slope) {
      const V t = fma(raw, keep, shift);
      const V p = sigmoid(x);
      r.keep(j, p);
      slope = p - t;
      return softplus_less(x, x * t);
    });
  }
};

/// -(t log(p) + (1 - t) log(1 - p)) of probabilities x, clipped to p; dx = (p - t) / (p (1 - p)), or 0 where clipped.
struct BinaryCrossentropy {
  static constexpr Loss kKind = Loss::kBinaryCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const V keep = broadcast<V>(1.0f - r.smoothing), shift = broadcast<V>(0.5f * r.smoothing);
    return mean_row(r, target, [&](V x, V raw, int64_t, V& slope) {
      const V t = fma(raw, keep, shift);
      const V p = clipped(x);
      slope = select(x == p, (p - t) / (p * (1.0f - p)), V{});
      return -(t * log(p) + (1.0f - t) * log(1.0f - p));
    });
  }
};

/// x^exponent for x >= 0; exponent 0 gives 1, even where x is 0. Not inlined, as a logarithm and an exponential are
/// long.
template <class V>
ENGINE_DEVICE __attribute__((noinline)) V power(V x, float exponent) {
  return exponent == 0.0f ? broadcast<V>(1.0f) : exp(log(x) * exponent);
}

/// The derivative of x^exponent for x >= 0. At 0 it may be infinite; a large number stands for that, because it is
/// multiplied by a factor that is 0 there, and the product must be 0, as its limit is.
template <class V>
ENGINE_INLINE V power_slope(V x, float exponent) {
  constexpr float kLeast = 0x1p-100f;
  if (exponent < 1.0f) x = at_least(x, kLeast);
  return power(x, exponent - 1.0f) * exponent;
}

/// The parameters of the focal losses.
enum FocalParameter { kAlpha, kGamma, kFromLogits, kBalanced };

/// w (1 - m)^gamma c, where c is the binary crossentropy of p (x, or its sigmoid for logits), m = t p + (1 - t) (1 - p)
/// is the probability of the target, and w = alpha t + (1 - alpha) (1 - t) where the classes are balanced, else 1.
/// (Lin et al. 2018)
struct BinaryFocalCrossentropy {
  static constexpr Loss kKind = Loss::kBinaryFocalCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const V keep = broadcast<V>(1.0f - r.smoothing), shift = broadcast<V>(0.5f * r.smoothing);
    const float alpha = r.parameters[kAlpha], gamma = r.parameters[kGamma];
    const bool logits = r.parameters[kFromLogits] != 0.0f, balanced = r.parameters[kBalanced] != 0.0f;
    return mean_row(r, target, [&](V x, V raw, int64_t, V& slope) {
      const V t = fma(raw, keep, shift), rest = 1.0f - t;
      const V p = logits ? sigmoid(x) : x;
      const V q = clipped(p);
      const V surprise = -(t * log(q) + rest * log(1.0f - q));
      const V miss = 1.0f - (t * p + rest * (1.0f - p));
      const V focus = power(miss, gamma);
      const V weight = balanced ? t * alpha + rest * (1.0f - alpha) : broadcast<V>(1.0f);
      const V by_surprise = select(p == q, (p - t) / (p * (1.0f - p)), V{});
      slope = weight * (focus * by_surprise - surprise * (t - rest) * power_slope(miss, gamma));
      if (logits) slope = slope * (p * (1.0f - p));
      return weight * focus * surprise;
    });
  }
};

/// alpha sum((1 - q)^gamma t (-log(q))) with p = x / sum(x), or softmax(x) of logits, clipped to q. (Lin et al. 2018)
struct CategoricalFocalCrossentropy {
  static constexpr Loss kKind = Loss::kCategoricalFocalCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const auto smooth = smoothed(r, target);
    const float alpha = r.parameters[kAlpha], gamma = r.parameters[kGamma];
    const bool logits = r.parameters[kFromLogits] != 0.0f;
    const auto part = [&](int64_t j) { return logits ? r.kept(j) : r.at(j); };
    typename R::Each total[1], sums[2];  // of x or exp(x); of the loss, and of p times its derivative by p
    if (logits) {
      total[0] = exponentials(r).sum;
    } else {
      r.sum(total, [&](int64_t j, V* sum) { sum[0] = sum[0] + r.at(j); });
    }
    r.sum(sums, [&](int64_t j, V* sum) {
      const V t = smooth(j) * alpha, p = part(j) / total[0];
      const V q = clipped(p);
      const V surprise = -log(q), miss = 1.0f - q;
      const V focus = power(miss, gamma);
      sum[0] = fma(t, focus * surprise, sum[0]);
      if (r.has_gradient()) {
        const V by_p = -t * (focus / q + surprise * power_slope(miss, gamma));
        const V slope = select(p == q, by_p, V{});
        sum[1] = fma(slope, p, sum[1]);
        r.set_gradient(j, slope);
      }
    });
    if (r.has_gradient()) {
      r.for_columns([&](int64_t j) {
        const V by_part = r.gradient(j) - sums[1];
        r.set_gradient(j, (logits ? by_part * (part(j) / total[0]) : by_part / total[0]) * r.scale);
      });
    }
    return sums[0];
  }
};

/// 1 - b / (b + alpha sum(t (1 - x)) + beta sum(x (1 - t)) + epsilon) with b = sum(t x). Parameters: alpha, beta,
/// epsilon. (Salehi et al. 2017)
struct Tversky {
  static constexpr Loss kKind = Loss::kTversky;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const float alpha = r.parameters[0], beta = r.parameters[1];
    typename R::Each sums[3];  // of t x, t (1 - x) and x (1 - t)
    r.sum(sums, [&](int64_t j, V* sum) {
      const V x = r.at(j), t = target.at(j);
      sum[0] = fma(t, x, sum[0]);
      sum[1] = fma(t, 1.0f - x, sum[1]);
      sum[2] = fma(x, 1.0f - t, sum[2]);
    });
    const auto all = sums[0] + sums[1] * alpha + sums[2] * beta + r.parameters[2];
    if (r.has_gradient()) {
      const auto by_all = sums[0] / (all * all);
      r.for_columns([&](int64_t j) {
        const V t = target.at(j);
        const V growth = t * (1.0f - alpha) + (1.0f - t) * beta;
        r.set_gradient(j, (growth * by_all - t / all) * r.scale);
      });
    }
    return 1.0f - sums[0] / all;
  }
};

/// (1 - p^q) / q, where p is the prediction for the target class, neither renormalized nor clipped; dx = -p^(q - 1) for
/// that class. An ignored label costs nothing. Parameters: q. (Zhang & Sabuncu 2018)
struct GeneralizedCrossentropy {
  static constexpr Loss kKind = Loss::kGeneralizedCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const float q = r.parameters[0];
    typename R::Each sums[2];  // of t x, which is p, and of t, which is 0 for an ignored label
    r.sum(sums, [&](int64_t j, V* sum) {
      sum[0] = fma(target.at(j), r.at(j), sum[0]);
      sum[1] = sum[1] + target.at(j);
    });
    if (r.has_gradient()) {
      const auto slope = R::apply([&](V p) { return power_slope(p, q) / q; }, sums[0]);
      r.for_columns([&](int64_t j) { r.set_gradient(j, -target.at(j) * slope * r.scale); });
    }
    return (sums[1] - R::apply([&](V p) { return power(p, q); }, sums[0])) / q;
  }
};

template <class V>
ENGINE_INLINE V sign(V x) {
  return select(x > 0.0f, broadcast<V>(1.0f), select(x < 0.0f, broadcast<V>(-1.0f), V{}));
}

/// Derivative of max(x, bound) by x. Where both are equal Keras takes the mean of the two sides.
template <class V>
ENGINE_INLINE V above(V x, float bound) {
  return select(x > bound, broadcast<V>(1.0f), select(x == bound, broadcast<V>(0.5f), V{}));
}

/// mean((x - t)^2).
struct MeanSquaredError {
  static constexpr Loss kKind = Loss::kMeanSquaredError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return mean_row(r, target, [](V x, V t, int64_t, V& slope) {
      const V e = x - t;
      slope = e + e;
      return e * e;
    });
  }
};

/// mean(|x - t|); the slope at 0 is 0.
struct MeanAbsoluteError {
  static constexpr Loss kKind = Loss::kMeanAbsoluteError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return mean_row(r, target, [](V x, V t, int64_t, V& slope) {
      slope = sign(x - t);
      return abs(t - x);
    });
  }
};

/// mean(100 |x - t| / max(|t|, epsilon)).
struct MeanAbsolutePercentageError {
  static constexpr Loss kKind = Loss::kMeanAbsolutePercentageError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return mean_row(r, target, [](V x, V t, int64_t, V& slope) {
      const V rate = 100.0f / at_least(abs(t), kFuzz);
      slope = sign(x - t) * rate;
      return abs(t - x) * rate;
    });
  }
};

/// mean((log(1 + max(x, epsilon)) - log(1 + max(t, epsilon)))^2).
struct MeanSquaredLogarithmicError {
  static constexpr Loss kKind = Loss::kMeanSquaredLogarithmicError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return mean_row(r, target, [](V x, V t, int64_t, V& slope) {
      const V grown = at_least(x, kFuzz) + 1.0f;
      const V e = log(grown) - log(at_least(t, kFuzz) + 1.0f);
      slope = (e + e) / grown * above(x, kFuzz);
      return e * e;
    });
  }
};

/// With e = x - t: mean(e^2 / 2) where |e| <= delta, else mean(delta (|e| - delta / 2)). Parameters: delta. (Huber
/// 1964)
struct Huber {
  static constexpr Loss kKind = Loss::kHuber;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const V delta = broadcast<V>(r.parameters[0]);
    const V offset = delta * delta * 0.5f;
    return mean_row(r, target, [&](V x, V t, int64_t, V& slope) {
      const V e = x - t;
      const V size = abs(e);
      slope = select(size <= delta, e, sign(e) * delta);
      return select(size <= delta, e * e * 0.5f, delta * size - offset);
    });
  }
};

/// With e = x - t: mean(log(cosh(e))) = mean(|e| + log(1 + exp(-2 |e|)) - log(2)); dx = tanh(e).
struct LogCosh {
  static constexpr Loss kKind = Loss::kLogCosh;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return mean_row(r, target, [](V x, V t, int64_t, V& slope) {
      const V e = x - t;
      slope = tanh(e);
      return log_cosh(e);
    });
  }
};

/// mean(x - t log(x + epsilon)).
struct Poisson {
  static constexpr Loss kKind = Loss::kPoisson;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return mean_row(r, target, [](V x, V t, int64_t, V& slope) {
      const V rate = x + kFuzz;
      slope = 1.0f - t / rate;
      return x - t * log(rate);
    });
  }
};

/// sum(t log(t / x)), both clipped to [epsilon, 1].
struct KLDivergence {
  static constexpr Loss kKind = Loss::kKLDivergence;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return sum_row(r, target, 1.0f, [](V x, V raw, int64_t, V& slope) {
      const V t = at_most(at_least(raw, kFuzz), 1.0f), p = at_most(at_least(x, kFuzz), 1.0f);
      slope = -t / p * above(x, kFuzz) * above(-x, -1.0f);
      return t * log(t / p);
    });
  }
};

/// c = sum(t x) / (|t| |x|), times parameters[0]; no norm counts as less than epsilon. dx = (t / |t| - c x / |x|) /
/// |x|.
struct CosineSimilarity {
  static constexpr Loss kKind = Loss::kCosineSimilarity;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    typename R::Each sums[3];  // of t x, x^2 and t^2
    r.sum(sums, [&](int64_t j, V* sum) {
      const V x = r.at(j), t = target.at(j);
      sum[0] = fma(t, x, sum[0]);
      sum[1] = fma(x, x, sum[1]);
      sum[2] = fma(t, t, sum[2]);
    });
    const auto inverse = [](V squares) { return inverse_norm(squares); };
    const auto of_x = R::apply(inverse, sums[1]), of_t = R::apply(inverse, sums[2]);
    const auto cosine = sums[0] * of_x * of_t;
    const float factor = r.parameters[0];
    if (r.has_gradient()) {
      // (t / |t| - cosine x / |x|) / |x|, where the norm of x may change
      const auto back = cosine * R::apply([](V factor) { return select(factor < kLargest, factor, V{}); }, of_x);
      r.for_columns(
          [&](int64_t j) { r.set_gradient(j, (target.at(j) * of_t - r.at(j) * back) * of_x * (factor * r.scale)); });
    }
    return cosine * factor;
  }

 private:
  static constexpr float kLargest = 1.0f / kFuzz;
  template <class V>
  static ENGINE_INLINE V inverse_norm(V squares) {
    return at_most(1.0f / sqrt(squares), kLargest);
  }
};

/// The mean of f(1 - t x, t, slope), where targets of 0 and 1 become -1 and 1 if the data set has no others.
template <class R, class T, class F>
ENGINE_INLINE auto hinge_row(R& r, const T& target, F&& f) {
  using V = typename R::V;
  const V keep = broadcast<V>(r.binary ? 2.0f : 1.0f), shift = broadcast<V>(r.binary ? -1.0f : 0.0f);
  return mean_row(r, target, [&](V x, V raw, int64_t, V& slope) {
    const V t = fma(raw, keep, shift);
    return f(1.0f - t * x, t, slope);
  });
}

/// mean(max(1 - t x, 0)).
struct Hinge {
  static constexpr Loss kKind = Loss::kHinge;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return hinge_row(r, target, [](V margin, V t, V& slope) {
      slope = -t * above(margin, 0.0f);
      return at_least(margin, 0.0f);
    });
  }
};

/// mean(max(1 - t x, 0)^2).
struct SquaredHinge {
  static constexpr Loss kKind = Loss::kSquaredHinge;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    return hinge_row(r, target, [](V margin, V t, V& slope) {
      const V m = at_least(margin, 0.0f);
      slope = -t * (m + m);
      return m * m;
    });
  }
};

/// max(max((1 - t) x) - sum(t x) + 1, 0); columns that share the largest (1 - t) x share its gradient.
struct CategoricalHinge {
  static constexpr Loss kKind = Loss::kCategoricalHinge;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    using V = typename R::V;
    const auto other = [&](int64_t j) { return (1.0f - target.at(j)) * r.at(j); };
    typename R::Each own[1], rivals[1];
    r.sum(own, [&](int64_t j, V* sums) { sums[0] = sums[0] + target.at(j) * r.at(j); });
    const auto rival = r.largest(other);
    const auto margin = rival - own[0] + 1.0f;
    if (r.has_gradient()) {
      const auto leads = [&](int64_t j) { return select(other(j) == rival, broadcast<V>(1.0f), V{}); };
      r.sum(rivals, [&](int64_t j, V* sums) { sums[0] = sums[0] + leads(j); });  // which share the gradient
      const auto active = R::apply([](V m) { return above(m, 0.0f); }, margin) * r.scale;
      const auto share = active / rivals[0];
      r.for_columns([&](int64_t j) {
        const V t = target.at(j);
        r.set_gradient(j, (1.0f - t) * share * leads(j) - t * active);
      });
    }
    return R::apply([](V m) { return at_least(m, 0.0f); }, margin);
  }
};

/// All of them, in the order of the enum.
using Losses = Types<Crossentropy, SoftmaxCrossentropy, BinaryCrossentropy, SigmoidCrossentropy,
                     BinaryFocalCrossentropy, CategoricalFocalCrossentropy, Tversky, GeneralizedCrossentropy,
                     MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError,
                     Huber, LogCosh, CosineSimilarity, KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge>;

}  // namespace
}  // namespace engine::formulas
