// Losses for classes of very different sizes, focal crossentropies and the Tversky index, and for noisy labels.
#pragma once
#include "kernels/losses.h"

namespace engine::ENGINE_ISA {
namespace {

/// x^exponent for x >= 0; exponent 0 gives 1, as for 0^0. Not inlined: a logarithm and an exponential are long.
__attribute__((noinline)) vf power(vf x, float exponent) {
  return exponent == 0.0f ? broadcast(1.0f) : exp(log(x) * exponent);
}

/// The derivative of x^exponent for x >= 0. Where it is infinite, at 0, it is only large: the slope of the link before
/// is 0 there, and the product of both must be 0, as it is on the way.
ENGINE_INLINE vf power_slope(vf x, float exponent) {
  constexpr float kLeast = 0x1p-100f;
  if (exponent < 1.0f) x = x < kLeast ? broadcast(kLeast) : x;
  return power(x, exponent - 1.0f) * exponent;
}

/// Where the focal losses keep what they are given.
enum FocalParameter { kAlpha, kGamma, kFromLogits, kBalanced };

/// (1 - p_t)^gamma times the binary crossentropy, p_t being the probability of the target (Lin et al., 2018); where
/// balanced, times alpha for the ones and 1 - alpha for the zeros
struct BinaryFocalCrossentropy {
  static constexpr Loss kKind = Loss::kBinaryFocalCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const vf keep = broadcast(1.0f - r.smoothing), shift = broadcast(0.5f * r.smoothing);
    const float alpha = r.parameters[kAlpha], gamma = r.parameters[kGamma];
    const bool logits = r.parameters[kFromLogits] != 0.0f, balanced = r.parameters[kBalanced] != 0.0f;
    return mean_row(r, target, [&](vf x, vf raw, int64_t, vf& slope) {
      const vf t = fma(raw, keep, shift), rest = 1.0f - t;
      const vf p = logits ? sigmoid(x) : x;
      const vf q = clamp(p, kFuzz, 1.0f - kFuzz);
      const vf surprise = -(t * log(q) + rest * log(1.0f - q));
      const vf miss = 1.0f - (t * p + rest * (1.0f - p));
      const vf focus = power(miss, gamma);
      const vf weight = balanced ? t * alpha + rest * (1.0f - alpha) : broadcast(1.0f);
      const vf by_surprise = p == q ? (p - t) / (p * (1.0f - p)) : vf{};
      slope = weight * (focus * by_surprise - surprise * (t - rest) * power_slope(miss, gamma));
      if (logits) slope = slope * (p * (1.0f - p));
      return weight * focus * surprise;
    });
  }
};

/// alpha sum((1 - p)^gamma t (-log p)), with p renormalised and clipped
struct CategoricalFocalCrossentropy {
  static constexpr Loss kKind = Loss::kCategoricalFocalCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const auto smooth = smoothed(r, target);
    const float alpha = r.parameters[kAlpha], gamma = r.parameters[kGamma];
    const bool logits = r.parameters[kFromLogits] != 0.0f;
    const auto part = [&](int64_t j) { return logits ? r.kept(j) : r.at(j); };
    typename R::Each total[1], sums[2];  // of what is shared out; of the loss, and of p times the slope by it
    if (logits) {
      total[0] = exponentials(r).sum;
    } else {
      r.sum(total, [&](int64_t j, vf* sum) { sum[0] = sum[0] + r.at(j); });
    }
    r.sum(sums, [&](int64_t j, vf* sum) {
      const vf t = smooth(j) * alpha, p = part(j) / total[0];
      const vf q = clamp(p, kFuzz, 1.0f - kFuzz);
      const vf surprise = -log(q), miss = 1.0f - q;
      const vf focus = power(miss, gamma);
      sum[0] = fma(t, focus * surprise, sum[0]);
      if (r.has_gradient()) {
        const vf by_p = -t * (focus / q + surprise * power_slope(miss, gamma));
        const vf slope = p == q ? by_p : vf{};
        sum[1] = fma(slope, p, sum[1]);
        r.set_gradient(j, slope);
      }
    });
    if (r.has_gradient()) {
      r.for_columns([&](int64_t j) {
        const vf by_part = r.gradient(j) - sums[1];
        r.set_gradient(j, (logits ? by_part * (part(j) / total[0]) : by_part / total[0]) * r.scale);
      });
    }
    return sums[0];
  }
};

/// 1 - both / (both + alpha sum(t (1 - x)) + beta sum(x (1 - t)) + epsilon) with both = sum(t x) (Salehi et al., 2017)
struct Tversky {
  static constexpr Loss kKind = Loss::kTversky;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const float alpha = r.parameters[0], beta = r.parameters[1];
    typename R::Each sums[3];  // of t x, t (1 - x) and x (1 - t)
    r.sum(sums, [&](int64_t j, vf* sum) {
      const vf x = r.at(j), t = target.at(j);
      sum[0] = fma(t, x, sum[0]);
      sum[1] = fma(t, 1.0f - x, sum[1]);
      sum[2] = fma(x, 1.0f - t, sum[2]);
    });
    const auto all = sums[0] + sums[1] * alpha + sums[2] * beta + r.parameters[2];
    if (r.has_gradient()) {
      const auto by_all = sums[0] / (all * all);
      r.for_columns([&](int64_t j) {
        const vf t = target.at(j);
        const vf growth = t * (1.0f - alpha) + (1.0f - t) * beta;
        r.set_gradient(j, (growth * by_all - t / all) * r.scale);
      });
    }
    return 1.0f - sums[0] / all;
  }
};

/// (1 - p^q) / q with p the prediction of the target class, neither renormalised nor clipped (Zhang and Sabuncu, 2018)
struct GeneralizedCrossentropy {
  static constexpr Loss kKind = Loss::kGeneralizedCrossentropy;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const float q = r.parameters[0];
    typename R::Each sums[2];  // of t x, which is p, and of t, which is 0 for an ignored label
    r.sum(sums, [&](int64_t j, vf* sum) {
      sum[0] = fma(target.at(j), r.at(j), sum[0]);
      sum[1] = sum[1] + target.at(j);
    });
    if (r.has_gradient()) {
      const auto slope = R::apply([&](vf p) { return power_slope(p, q) / q; }, sums[0]);
      r.for_columns([&](int64_t j) { r.set_gradient(j, -target.at(j) * slope * r.scale); });
    }
    return (sums[1] - R::apply([&](vf p) { return power(p, q); }, sums[0])) / q;
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
