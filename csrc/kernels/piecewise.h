// Elementwise activations made of straight lines and parabolas. At a corner the slope is the one that Keras takes.
#pragma once
#include "kernels/kinds.h"
#include "kernels/math.h"

namespace engine::ENGINE_ISA {
namespace {

/// dy where z lies between low and high, else 0.
ENGINE_INLINE vf between(vf dy, vf z, float low, float high) { return ((z > low) & (z < high)) ? dy : vf{}; }

struct Relu6 {  // min(max(z, 0), 6)
  static constexpr Activation kKind = Activation::kRelu6;
  static ENGINE_INLINE vf forward(vf z) { return clamp(z, 0.0f, 6.0f); }
  static ENGINE_INLINE vf backward(vf dy, vf z) { return between(dy, z, 0.0f, 6.0f); }
};

struct HardTanh {  // z within [-1, 1]
  static constexpr Activation kKind = Activation::kHardTanh;
  static ENGINE_INLINE vf forward(vf z) { return clamp(z, -1.0f, 1.0f); }
  static ENGINE_INLINE vf backward(vf dy, vf z) { return abs(z) > 1.0f ? vf{} : dy; }
};

struct HardSigmoid {  // relu6(z + 3) / 6
  static constexpr Activation kKind = Activation::kHardSigmoid;
  static ENGINE_INLINE vf forward(vf z) { return Relu6::forward(z + 3.0f) / 6.0f; }
  static ENGINE_INLINE vf backward(vf dy, vf z) { return between(dy / 6.0f, z, -3.0f, 3.0f); }
};

struct HardSilu {  // z hard_sigmoid(z), Howard et al. 2019
  static constexpr Activation kKind = Activation::kHardSilu;
  static ENGINE_INLINE vf forward(vf z) { return z * HardSigmoid::forward(z); }
  static ENGINE_INLINE vf backward(vf dy, vf z) { return dy * (HardSigmoid::forward(z) + HardSigmoid::backward(z, z)); }
};

struct SparsePlus {  // 0 up to -1, (z + 1)^2 / 4, z from 1 on
  static constexpr Activation kKind = Activation::kSparsePlus;
  static ENGINE_INLINE vf forward(vf z) {
    const vf s = z + 1.0f;
    return z <= -1.0f ? vf{} : z >= 1.0f ? z : 0.25f * (s * s);
  }
  static ENGINE_INLINE vf backward(vf dy, vf z) { return dy * (0.5f * (clamp(z, -1.0f, 1.0f) + 1.0f)); }
};

struct SparseSigmoid {  // (z + 1) / 2 within [0, 1], Blondel et al. 2019
  static constexpr Activation kKind = Activation::kSparseSigmoid;
  static ENGINE_INLINE vf forward(vf z) { return 0.5f * (clamp(z, -1.0f, 1.0f) + 1.0f); }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    const vf a = abs(z);
    return dy * (a > 1.0f ? vf{} : a == 1.0f ? broadcast(0.25f) : broadcast(0.5f));
  }
};

struct LeakyRelu {  // z from 0 on, else slope z; Maas et al. 2013
  static constexpr Activation kKind = Activation::kLeakyRelu;
  vf slope;
  ENGINE_INLINE explicit LeakyRelu(const float* p) : slope(broadcast(p[0])) {}
  ENGINE_INLINE vf forward(vf z) const { return z < 0.0f ? slope * z : z; }
  ENGINE_INLINE vf backward(vf dy, vf z) const { return z < 0.0f ? slope * dy : dy; }
};

/// z between threshold and the highest value, which it does not exceed; below the threshold slope (z - threshold).
/// Where there is a highest value or no threshold, 0 is the lowest of the first part.
struct GeneralRelu {
  static constexpr Activation kKind = Activation::kGeneralRelu;
  vf slope, high, threshold, low;
  ENGINE_INLINE explicit GeneralRelu(const float* p)
      : slope(broadcast(p[0])),
        high(broadcast(p[1])),
        threshold(broadcast(p[2])),
        low(broadcast(p[1] < kInfinity || p[2] == 0.0f ? 0.0f : -kInfinity)) {}
  ENGINE_INLINE vf forward(vf z) const {
    const vf above = z <= threshold ? vf{} : z;
    const vf below = z < threshold ? threshold - z : vf{};
    return (above < low ? low : above > high ? high : above) - slope * below;
  }
  ENGINE_INLINE vf backward(vf dy, vf z) const {
    const vf inner = z == high ? 0.5f * dy : dy;
    const vf above = ((z > threshold) & (z > low) & (z <= high)) ? inner : vf{};
    return above + (z < threshold ? slope * dy : vf{});
  }
};

struct SoftShrink {  // towards 0 by the threshold, as far as 0
  static constexpr Activation kKind = Activation::kSoftShrink;
  vf threshold;
  ENGINE_INLINE explicit SoftShrink(const float* p) : threshold(broadcast(p[0])) {}
  ENGINE_INLINE vf forward(vf z) const { return abs(z) <= threshold ? vf{} : z < 0.0f ? z + threshold : z - threshold; }
  ENGINE_INLINE vf backward(vf dy, vf z) const { return abs(z) <= threshold ? vf{} : dy; }
};

struct HardShrink {  // 0 up to the threshold, in both directions
  static constexpr Activation kKind = Activation::kHardShrink;
  vf threshold;
  ENGINE_INLINE explicit HardShrink(const float* p) : threshold(broadcast(p[0])) {}
  ENGINE_INLINE vf forward(vf z) const { return abs(z) <= threshold ? vf{} : z; }
  ENGINE_INLINE vf backward(vf dy, vf z) const { return abs(z) <= threshold ? vf{} : dy; }
};

struct Threshold {  // z above the threshold, else a constant
  static constexpr Activation kKind = Activation::kThreshold;
  vf threshold, otherwise;
  ENGINE_INLINE explicit Threshold(const float* p) : threshold(broadcast(p[0])), otherwise(broadcast(p[1])) {}
  ENGINE_INLINE vf forward(vf z) const { return z <= threshold ? otherwise : z; }
  ENGINE_INLINE vf backward(vf dy, vf z) const { return z <= threshold ? vf{} : dy; }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
