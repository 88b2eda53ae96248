// Losses for classes of very different sizes: focal crossentropies and the Tversky index.
#pragma once
#include "kernels/losses.h"

namespace engine::ENGINE_ISA {
namespace {

/// x^exponent for x >= 0; exponent 0 gives 1, as for 0^0
ENGINE_INLINE vf power(vf x, float exponent) { return exponent == 0.0f ? broadcast(1.0f) : exp(log(x) * exponent); }

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
      const vf q = clipped(p, kFuzz, 1.0f - kFuzz);
      const vf surprise = -(t * log(q) + rest * log(1.0f - q));
      const vf miss = 1.0f - (t * p + rest * (1.0f - p));
      const vf focus = power(miss, gamma);
      const vf weight = balanced ? t * alpha + rest * (1.0f - alpha) : broadcast(1.0f);
      const vf by_surprise = p == q ? (p - t) / (p * (1.0f - p)) : vf{};
      slope = weight * (focus * by_surprise - surprise * (t - rest) * (power(miss, gamma - 1.0f) * gamma));
      if (logits) slope = slope * (p * (1.0f - p));
      return weight * focus * surprise;
    });
  }
};

/// alpha sum((1 - p)^gamma t (-log p)), with p renormalised and clipped
struct CategoricalFocalCrossentropy {
  static constexpr Loss kKind = Loss::kCategoricalFocalCrossentropy;
  template <class T>
  static ENGINE_INLINE float row(const LossRow& r, const T& target) {
    const vf keep = broadcast(1.0f - r.smoothing), shift = broadcast(r.smoothing / static_cast<float>(r.n));
    const float alpha = r.parameters[kAlpha], gamma = r.parameters[kGamma];
    const bool logits = r.parameters[kFromLogits] != 0.0f;
    const float* shares = r.x;
    float sum;
    if (logits) {
      float largest;
      exp_row(r.x, r.y, r.n, largest, sum);
      shares = r.y;
    } else {
      LaneSum lanes;
      for_vectors(
          r.n, [&](int64_t j, int part) { lanes.part[part] = lanes.part[part] + masked(load(r.x + j), j, r.n, vf{}); });
      sum = lanes.total();
    }
    LaneSum loss, moment;
    for_vectors(r.n, [&](int64_t j, int part) {
      const vf t = masked(fma(target.at(j), keep, shift), j, r.n, vf{}) * alpha;
      const vf p = masked(load(shares + j) / sum, j, r.n, vf{});
      const vf q = clipped(p, kFuzz, 1.0f - kFuzz);
      const vf surprise = -log(q), miss = 1.0f - q;
      const vf focus = power(miss, gamma);
      loss.part[part] = fma(t, focus * surprise, loss.part[part]);
      if (r.dx) {
        const vf by_p = -t * (focus / q + surprise * (power(miss, gamma - 1.0f) * gamma));
        const vf slope = p == q ? by_p : vf{};
        moment.part[part] = fma(slope, p, moment.part[part]);
        store(r.dx + j, slope);
      }
    });
    if (r.dx) {
      const float mean = moment.total();
      for_vectors(r.n, [&](int64_t j, int) {
        const vf by_share = load(r.dx + j) - mean;
        const vf by_x = logits ? by_share * (load(shares + j) / sum) : by_share / sum;
        store(r.dx + j, masked(by_x * r.scale, j, r.n, vf{}));
      });
    }
    return loss.total();
  }
};

/// 1 - both / (both + alpha sum(t (1 - x)) + beta sum(x (1 - t)) + epsilon) with both = sum(t x) (Salehi et al., 2017)
struct Tversky {
  static constexpr Loss kKind = Loss::kTversky;
  template <class T>
  static ENGINE_INLINE float row(const LossRow& r, const T& target) {
    const float alpha = r.parameters[0], beta = r.parameters[1];
    LaneSum common, target_alone, x_alone;
    for_vectors(r.n, [&](int64_t j, int part) {
      const vf x = masked(load(r.x + j), j, r.n, vf{}), t = target.at(j);
      common.part[part] = fma(t, x, common.part[part]);
      target_alone.part[part] = fma(t, 1.0f - x, target_alone.part[part]);
      x_alone.part[part] = fma(x, 1.0f - t, x_alone.part[part]);
    });
    const float both = common.total();
    const float all = both + target_alone.total() * alpha + x_alone.total() * beta + r.parameters[2];
    if (r.dx) {
      const float by_all = both / (all * all);
      for_vectors(r.n, [&](int64_t j, int) {
        const vf t = target.at(j);
        const vf growth = t * (1.0f - alpha) + (1.0f - t) * beta;
        store(r.dx + j, masked((growth * by_all - t / all) * r.scale, j, r.n, vf{}));
      });
    }
    return 1.0f - both / all;
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
