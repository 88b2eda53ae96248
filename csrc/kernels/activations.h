// Elementwise activations: y = forward(z), and dz = backward(dy, saved), where the plan saves the output y, or
// z itself where `saves_input` in kinds.h says so. A NaN stays visible: comparisons are written so that it passes.
#pragma once
#include "kernels/kinds.h"
#include "kernels/math.h"

namespace engine::ENGINE_ISA {
namespace {

struct Linear {
  static constexpr Activation kKind = Activation::kLinear;
  static ENGINE_INLINE vf forward(vf z) { return z; }
  static ENGINE_INLINE vf backward(vf dy, vf) { return dy; }
};

struct Relu {
  static constexpr Activation kKind = Activation::kRelu;
  static ENGINE_INLINE vf forward(vf z) { return z < 0.0f ? vf{} : z; }
  static ENGINE_INLINE vf backward(vf dy, vf y) { return y > 0.0f ? dy : vf{}; }
};

struct Sigmoid {
  static constexpr Activation kKind = Activation::kSigmoid;
  static ENGINE_INLINE vf forward(vf z) { return sigmoid(z); }
  static ENGINE_INLINE vf backward(vf dy, vf y) { return dy * (y * (1.0f - y)); }
};

struct Tanh {
  static constexpr Activation kKind = Activation::kTanh;
  static ENGINE_INLINE vf forward(vf z) { return tanh(z); }
  static ENGINE_INLINE vf backward(vf dy, vf y) { return dy * (1.0f - y * y); }
};

struct Exponential {
  static constexpr Activation kKind = Activation::kExponential;
  static ENGINE_INLINE vf forward(vf z) { return exp(z); }
  static ENGINE_INLINE vf backward(vf dy, vf y) { return dy * y; }
};

struct Silu {  // z sigmoid(z), Elfwing et al. 2017
  static constexpr Activation kKind = Activation::kSilu;
  static ENGINE_INLINE vf forward(vf z) { return z * sigmoid(z); }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    const vf s = sigmoid(z);
    return dy * fma(z * s, 1.0f - s, s);
  }
};

struct Gelu {  // z Phi(z), Hendrycks & Gimpel 2016
  static constexpr Activation kKind = Activation::kGelu;
  static ENGINE_INLINE vf forward(vf z) { return z * normal(z).cdf; }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    const Normal n = normal(z);
    return dy * fma(z, n.density, n.cdf);
  }
};

struct GeluTanh {  // z (1 + tanh(u)) / 2 = z sigmoid(2 u) with u = sqrt(2 / pi) (z + 0.044715 z^3)
  static constexpr Activation kKind = Activation::kGeluTanh;
  static constexpr float kCubic = 0.044715f;
  static constexpr float kTwice = 1.5957691f;  // 2 sqrt(2 / pi)
  static ENGINE_INLINE vf gate(vf z) { return sigmoid(z * kTwice * fma(z * z, broadcast(kCubic), broadcast(1.0f))); }
  static ENGINE_INLINE vf forward(vf z) { return z * gate(z); }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    constexpr float kFar = 16.0f;  // the gate is 0 or 1 from there on, and no square may overflow
    const vf c = z < -kFar ? broadcast(-kFar) : z > kFar ? broadcast(kFar) : z;
    const vf s = gate(c), slope = kTwice * fma(c * c, broadcast(3.0f * kCubic), broadcast(1.0f));
    return dy * fma(c * s * (1.0f - s), slope, s);
  }
};

struct Mish {  // z tanh(softplus(z)), Misra 2019; the tanh is a ratio of polynomials in exp(-|z|)
  static constexpr Activation kKind = Activation::kMish;
  struct Ratio {
    vf above, rest, sigmoid;  // tanh = above / (above + rest)
    ENGINE_INLINE explicit Ratio(vf z) {
      const vf e = exp(-abs(z)), r = 1.0f / (e + 1.0f);
      above = z < 0.0f ? e * (e + 2.0f) : fma(e, broadcast(2.0f), broadcast(1.0f));
      rest = z < 0.0f ? broadcast(2.0f) : 2.0f * e * e;
      sigmoid = z < 0.0f ? e * r : r;
    }
  };
  static ENGINE_INLINE vf forward(vf z) {
    const Ratio r(z);
    return z * (r.above / (r.above + r.rest));
  }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    const Ratio r(z);
    const vf whole = r.above + r.rest, t = r.above / whole;
    const vf slope = r.rest * (whole + r.above) / (whole * whole);  // 1 - tanh^2
    return dy * fma(z * r.sigmoid, slope, t);
  }
};

struct Softplus {  // log(1 + exp(z))
  static constexpr Activation kKind = Activation::kSoftplus;
  static ENGINE_INLINE vf forward(vf z) { return softplus(z); }
  static ENGINE_INLINE vf backward(vf dy, vf z) { return dy * sigmoid(z); }
};

struct LogSigmoid {
  static constexpr Activation kKind = Activation::kLogSigmoid;
  static ENGINE_INLINE vf forward(vf z) { return -softplus(-z); }
  static ENGINE_INLINE vf backward(vf dy, vf z) { return dy * sigmoid(-z); }
};

struct Softsign {  // z / (1 + |z|)
  static constexpr Activation kKind = Activation::kSoftsign;
  static ENGINE_INLINE vf forward(vf z) { return z / (abs(z) + 1.0f); }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    const vf r = 1.0f / (abs(z) + 1.0f);
    return dy * (r * r);
  }
};

struct TanhShrink {  // z - tanh(z)
  static constexpr Activation kKind = Activation::kTanhShrink;
  static ENGINE_INLINE vf forward(vf z) { return tanh_shrink(z); }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    const vf t = tanh(z);
    return dy * (t * t);
  }
};

/// scale (z if z > 0, else alpha (exp(rate z) - 1))
struct ExponentialLinear {
  vf alpha, rate, scale;
  ENGINE_INLINE vf forward(vf z) const { return scale * (z > 0.0f ? z : alpha * expm1_negative(rate * z)); }
  ENGINE_INLINE vf backward(vf dy, vf z) const {
    return dy * (scale * (z > 0.0f ? broadcast(1.0f) : alpha * rate * exp(rate * z)));
  }
};

struct Elu : ExponentialLinear {  // Clevert et al. 2016
  static constexpr Activation kKind = Activation::kElu;
  ENGINE_INLINE explicit Elu(const float* p) : ExponentialLinear{broadcast(p[0]), broadcast(1.0f), broadcast(1.0f)} {}
};

struct Selu : ExponentialLinear {  // Klambauer et al. 2017
  static constexpr Activation kKind = Activation::kSelu;
  ENGINE_INLINE explicit Selu(const float*)
      : ExponentialLinear{broadcast(1.6732632f), broadcast(1.0f), broadcast(1.050701f)} {}
};

struct Celu : ExponentialLinear {  // Barron 2017
  static constexpr Activation kKind = Activation::kCelu;
  ENGINE_INLINE explicit Celu(const float* p)
      : ExponentialLinear{broadcast(p[0]), broadcast(1.0f / p[0]), broadcast(1.0f)} {}
};

struct Squareplus {  // (z + sqrt(z^2 + b)) / 2, Barron 2021
  static constexpr Activation kKind = Activation::kSquareplus;
  vf b;
  ENGINE_INLINE explicit Squareplus(const float* p) : b(broadcast(p[0])) {}
  ENGINE_INLINE vf root(vf z) const {
    constexpr float kFar = 1e15f;  // b is nothing from there on, and no square may overflow
    return abs(z) > kFar ? abs(z) : sqrt(fma(z, z, b));
  }
  /// z + root(z), for negative z without their difference
  ENGINE_INLINE vf twice(vf z, vf s) const { return z < 0.0f ? b / (s - z) : z + s; }
  ENGINE_INLINE vf forward(vf z) const { return 0.5f * twice(z, root(z)); }
  ENGINE_INLINE vf backward(vf dy, vf z) const {
    const vf s = root(z);
    return dy * (0.5f * (twice(z, s) / s));
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
