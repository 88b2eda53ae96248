// Losses of numbers: distances of outputs from targets, and divergences of what is not normalised.
#pragma once
#include "kernels/losses.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr float kLn2 = 0.693147181f;

ENGINE_INLINE vf sign(vf x) { return x > 0.0f ? broadcast(1.0f) : x < 0.0f ? broadcast(-1.0f) : vf{}; }

/// Derivative of max(x, bound) by x. Where both are equal Keras takes the mean of the two sides.
ENGINE_INLINE vf above(vf x, float bound) { return x > bound ? broadcast(1.0f) : x == bound ? broadcast(0.5f) : vf{}; }

struct MeanSquaredError {
  static constexpr Loss kKind = Loss::kMeanSquaredError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return mean_row(r, target, [](vf x, vf t, int64_t, vf& slope) {
      const vf e = x - t;
      slope = e + e;
      return e * e;
    });
  }
};

struct MeanAbsoluteError {
  static constexpr Loss kKind = Loss::kMeanAbsoluteError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return mean_row(r, target, [](vf x, vf t, int64_t, vf& slope) {
      const vf e = x - t;
      slope = sign(e);
      return abs(e);
    });
  }
};

/// 100 |x - t| / max(|t|, epsilon)
struct MeanAbsolutePercentageError {
  static constexpr Loss kKind = Loss::kMeanAbsolutePercentageError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return mean_row(r, target, [](vf x, vf t, int64_t, vf& slope) {
      const vf size = abs(t);
      const vf rate = 100.0f / (size > kFuzz ? size : broadcast(kFuzz));
      const vf e = x - t;
      slope = sign(e) * rate;
      return abs(e) * rate;
    });
  }
};

/// (log(1 + max(x, epsilon)) - log(1 + max(t, epsilon)))^2
struct MeanSquaredLogarithmicError {
  static constexpr Loss kKind = Loss::kMeanSquaredLogarithmicError;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return mean_row(r, target, [](vf x, vf t, int64_t, vf& slope) {
      const vf grown = (x > kFuzz ? x : broadcast(kFuzz)) + 1.0f;
      const vf e = log(grown) - log((t > kFuzz ? t : broadcast(kFuzz)) + 1.0f);
      slope = (e + e) / grown * above(x, kFuzz);
      return e * e;
    });
  }
};

/// e^2 / 2 for |e| <= delta, then delta (|e| - delta / 2) (Huber, 1964)
struct Huber {
  static constexpr Loss kKind = Loss::kHuber;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const vf delta = broadcast(r.parameters[0]);
    const vf offset = delta * delta * 0.5f;
    return mean_row(r, target, [&](vf x, vf t, int64_t, vf& slope) {
      const vf e = x - t;
      const vf size = abs(e);
      slope = size <= delta ? e : sign(e) * delta;
      return size <= delta ? e * e * 0.5f : delta * size - offset;
    });
  }
};

/// log(cosh(e)) = |e| + log(1 + exp(-2 |e|)) - log(2)
struct LogCosh {
  static constexpr Loss kKind = Loss::kLogCosh;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return mean_row(r, target, [](vf x, vf t, int64_t, vf& slope) {
      const vf e = x - t;
      const vf size = abs(e);
      slope = tanh(e);
      return size + log1p_unit(exp(-(size + size))) - kLn2;
    });
  }
};

/// x - t log(x + epsilon)
struct Poisson {
  static constexpr Loss kKind = Loss::kPoisson;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return mean_row(r, target, [](vf x, vf t, int64_t, vf& slope) {
      const vf rate = x + kFuzz;
      slope = 1.0f - t / rate;
      return x - t * log(rate);
    });
  }
};

/// sum(t log(t / x)), both clipped to [epsilon, 1]
struct KLDivergence {
  static constexpr Loss kKind = Loss::kKLDivergence;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return sum_row(r, target, 1.0f, [](vf x, vf raw, int64_t, vf& slope) {
      const vf t = clamp(raw, kFuzz, 1.0f), p = clamp(x, kFuzz, 1.0f);
      slope = -t / p * above(x, kFuzz) * above(-x, -1.0f);
      return t * log(t / p);
    });
  }
};

/// parameters[0] sum(t x) / (|t| |x|), where no norm counts as less than epsilon
struct CosineSimilarity {
  static constexpr Loss kKind = Loss::kCosineSimilarity;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    typename R::Each sums[3];  // of t x, x^2 and t^2
    r.sum(sums, [&](int64_t j, vf* sum) {
      const vf x = r.at(j), t = target.at(j);
      sum[0] = fma(t, x, sum[0]);
      sum[1] = fma(x, x, sum[1]);
      sum[2] = fma(t, t, sum[2]);
    });
    const auto of_x = R::apply(inverse_norm, sums[1]), of_t = R::apply(inverse_norm, sums[2]);
    const auto cosine = sums[0] * of_x * of_t;
    const float factor = r.parameters[0];
    if (r.has_gradient()) {
      // (t / |t| - cosine x / |x|) / |x|, where the norm of x may change
      const auto back = cosine * R::apply([](vf inverse) { return inverse < kLargest ? inverse : vf{}; }, of_x);
      r.for_columns(
          [&](int64_t j) { r.set_gradient(j, (target.at(j) * of_t - r.at(j) * back) * of_x * (factor * r.scale)); });
    }
    return cosine * factor;
  }

 private:
  static constexpr float kLargest = 1.0f / kFuzz;
  static ENGINE_INLINE vf inverse_norm(vf squares) {
    const vf inverse = 1.0f / sqrt(squares);
    return inverse < kLargest ? inverse : broadcast(kLargest);
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
