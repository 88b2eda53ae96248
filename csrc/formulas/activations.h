// Elementwise activations. Each is a struct with `forward`, y = f(z), and `backward`, dz = f'(z) dy, where the latter
// is given the output y, or the input z where `saves_input` in kinds.h says so. An activation with parameters is made
// from them: (parameter_count,) floats in the order of Keras' arguments. At a corner the slope is the one that Keras
// takes. A NaN stays visible: comparisons are written so that it passes. Choices are calls of `select`, so that a
// number type can record a formula (graph/operations/recorded_number.h): traced functions and second derivatives are
// made from it.
#pragma once
#include "formulas/elementary.h"
#include "formulas/kinds.h"

namespace engine::formulas {
namespace {

/// y = z; dz = dy.
template <class V>
struct Linear {
  static constexpr Activation kKind = Activation::kLinear;
  static ENGINE_INLINE V forward(V z) { return z; }
  static ENGINE_INLINE V backward(V dy, V) { return dy; }
};

/// y = max(z, 0); dz = dy where y > 0, else 0. The slope at 0 is 0, as in Keras. (Nair & Hinton 2010)
template <class V>
struct Relu {
  static constexpr Activation kKind = Activation::kRelu;
  static ENGINE_INLINE V forward(V z) { return positive_part(z); }
  static ENGINE_INLINE V backward(V dy, V y) { return select(y > 0.0f, dy, V{}); }
};

/// y = 1 / (1 + exp(-z)); dz = dy y (1 - y).
template <class V>
struct Sigmoid {
  static constexpr Activation kKind = Activation::kSigmoid;
  static ENGINE_INLINE V forward(V z) { return sigmoid(z); }
  static ENGINE_INLINE V backward(V dy, V y) { return dy * (y * (1.0f - y)); }
};

/// y = tanh(z); dz = dy (1 - y^2).
template <class V>
struct Tanh {
  static constexpr Activation kKind = Activation::kTanh;
  static ENGINE_INLINE V forward(V z) { return tanh(z); }
  static ENGINE_INLINE V backward(V dy, V y) { return dy * (1.0f - y * y); }
};

/// y = exp(z); dz = dy y.
template <class V>
struct Exponential {
  static constexpr Activation kKind = Activation::kExponential;
  static ENGINE_INLINE V forward(V z) { return exp(z); }
  static ENGINE_INLINE V backward(V dy, V y) { return dy * y; }
};

/// y = z s with s = sigmoid(z); dz = dy (s + z s (1 - s)). (Elfwing et al. 2017)
template <class V>
struct Silu {
  static constexpr Activation kKind = Activation::kSilu;
  static ENGINE_INLINE V forward(V z) { return z * sigmoid(z); }
  static ENGINE_INLINE V backward(V dy, V z) {
    const V s = sigmoid(z);
    return dy * fma(z * s, 1.0f - s, s);
  }
};

/// y = z P(z) with P the distribution function and p the density of the standard normal distribution;
/// dz = dy (P(z) + z p(z)). (Hendrycks & Gimpel 2016)
template <class V>
struct Gelu {
  static constexpr Activation kKind = Activation::kGelu;
  static ENGINE_INLINE V forward(V z) { return z * normal(z).cdf; }
  static ENGINE_INLINE V backward(V dy, V z) {
    const Normal<V> n = normal(z);
    return dy * fma(z, n.density, n.cdf);
  }
};

/// y = z (1 + tanh(u)) / 2 = z sigmoid(2 u) with u = sqrt(2 / pi) (z + 0.044715 z^3), the approximation of Gelu by
/// its authors; with s = sigmoid(2 u), dz = dy (s + z s (1 - s) d(2 u)/dz).
template <class V>
struct GeluTanh {
  static constexpr Activation kKind = Activation::kGeluTanh;
  static constexpr float kCubic = 0.044715f;
  static constexpr float kTwice = 1.5957691f;  // 2 sqrt(2 / pi)
  static ENGINE_INLINE V gate(V z) {
    return sigmoid(z * kTwice * fma(z * z, broadcast<V>(kCubic), broadcast<V>(1.0f)));
  }
  static ENGINE_INLINE V forward(V z) { return z * gate(z); }
  static ENGINE_INLINE V backward(V dy, V z) {
    constexpr float kFar = 16.0f;  // the gate is 0 or 1 from there on, and no square may overflow
    const V c = select(z < -kFar, broadcast<V>(-kFar), select(z > kFar, broadcast<V>(kFar), z));
    const V s = gate(c), slope = kTwice * fma(c * c, broadcast<V>(3.0f * kCubic), broadcast<V>(1.0f));
    return dy * fma(c * s * (1.0f - s), slope, s);
  }
};

/// y = z tanh(softplus(z)); with t = tanh(softplus(z)), dz = dy (t + z sigmoid(z) (1 - t^2)). The tanh is a ratio of
/// polynomials in e = exp(-|z|), which cannot overflow: (2 e^z + e^2z) / (2 e^z + e^2z + 2). (Misra 2019)
template <class V>
struct Mish {
  static constexpr Activation kKind = Activation::kMish;
  struct Ratio {
    V above, rest, sigmoid;  // tanh = above / (above + rest)
    ENGINE_INLINE explicit Ratio(V z) {
      const V e = exp(-abs(z)), r = 1.0f / (e + 1.0f);
      above = select(z < 0.0f, e * (e + 2.0f), fma(e, broadcast<V>(2.0f), broadcast<V>(1.0f)));
      rest = select(z < 0.0f, broadcast<V>(2.0f), 2.0f * e * e);
      sigmoid = select(z < 0.0f, e * r, r);
    }
  };
  static ENGINE_INLINE V forward(V z) {
    const Ratio r(z);
    return z * (r.above / (r.above + r.rest));
  }
  static ENGINE_INLINE V backward(V dy, V z) {
    const Ratio r(z);
    const V whole = r.above + r.rest, t = r.above / whole;
    const V slope = r.rest * (whole + r.above) / (whole * whole);  // 1 - tanh^2
    return dy * fma(z * r.sigmoid, slope, t);
  }
};

/// y = log(1 + exp(z)); dz = dy sigmoid(z).
template <class V>
struct Softplus {
  static constexpr Activation kKind = Activation::kSoftplus;
  static ENGINE_INLINE V forward(V z) { return softplus(z); }
  static ENGINE_INLINE V backward(V dy, V z) { return dy * sigmoid(z); }
};

/// y = log(sigmoid(z)) = -softplus(-z); dz = dy sigmoid(-z).
template <class V>
struct LogSigmoid {
  static constexpr Activation kKind = Activation::kLogSigmoid;
  static ENGINE_INLINE V forward(V z) { return -softplus(-z); }
  static ENGINE_INLINE V backward(V dy, V z) { return dy * sigmoid(-z); }
};

/// y = z / (1 + |z|); dz = dy / (1 + |z|)^2.
template <class V>
struct Softsign {
  static constexpr Activation kKind = Activation::kSoftsign;
  static ENGINE_INLINE V forward(V z) { return z / (abs(z) + 1.0f); }
  static ENGINE_INLINE V backward(V dy, V z) {
    const V r = 1.0f / (abs(z) + 1.0f);
    return dy * (r * r);
  }
};

/// y = z - tanh(z); dz = dy tanh(z)^2.
template <class V>
struct TanhShrink {
  static constexpr Activation kKind = Activation::kTanhShrink;
  static ENGINE_INLINE V forward(V z) { return tanh_shrink(z); }
  static ENGINE_INLINE V backward(V dy, V z) {
    const V t = tanh(z);
    return dy * (t * t);
  }
};

/// y = scale z where z > 0, else scale alpha (exp(rate z) - 1); dz = dy scale, or dy scale alpha rate exp(rate z).
template <class V>
struct ExponentialLinear {
  V alpha, rate, scale;
  ENGINE_INLINE V forward(V z) const { return scale * select(z > 0.0f, z, alpha * expm1_negative(rate * z)); }
  ENGINE_INLINE V backward(V dy, V z) const {
    return dy * (scale * select(z > 0.0f, broadcast<V>(1.0f), alpha * rate * exp_negative(rate * z)));
  }
};

/// Parameters: alpha. (Clevert et al. 2016)
template <class V>
struct Elu : ExponentialLinear<V> {
  static constexpr Activation kKind = Activation::kElu;
  ENGINE_INLINE explicit Elu(const float* p)
      : ExponentialLinear<V>{broadcast<V>(p[0]), broadcast<V>(1.0f), broadcast<V>(1.0f)} {}
};

/// The constants keep mean 0 and variance 1 from layer to layer. (Klambauer et al. 2017)
template <class V>
struct Selu : ExponentialLinear<V> {
  static constexpr Activation kKind = Activation::kSelu;
  ENGINE_INLINE explicit Selu(const float*)
      : ExponentialLinear<V>{broadcast<V>(1.6732632f), broadcast<V>(1.0f), broadcast<V>(1.050701f)} {}
};

/// y = max(z, 0) + alpha (exp(min(z, 0) / alpha) - 1); dz = dy exp(min(z, 0) / alpha). Parameters: alpha. The maximum
/// and the minimum halve their slopes at 0, which the second derivative shows. (Barron 2017)
template <class V>
struct Celu {
  static constexpr Activation kKind = Activation::kCelu;
  V alpha, rate;
  ENGINE_INLINE explicit Celu(const float* p) : alpha(broadcast<V>(p[0])), rate(broadcast<V>(1.0f / p[0])) {}
  ENGINE_INLINE V forward(V z) const { return at_least(z, 0.0f) + alpha * expm1_negative(rate * at_most(z, 0.0f)); }
  ENGINE_INLINE V backward(V dy, V z) const {
    const V below = select(z < 0.0f, broadcast<V>(1.0f), select(z == 0.0f, broadcast<V>(0.5f), V{}));
    return dy * fma(below, exp_negative(rate * at_most(z, 0.0f)), 1.0f - below);
  }
};

/// y = (z + r) / 2 with r = sqrt(z^2 + b); dz = dy (z + r) / (2 r). Parameters: b. (Barron 2021)
template <class V>
struct Squareplus {
  static constexpr Activation kKind = Activation::kSquareplus;
  V b;
  ENGINE_INLINE explicit Squareplus(const float* p) : b(broadcast<V>(p[0])) {}
  ENGINE_INLINE V root(V z) const {
    constexpr float kFar = 1e15f;  // b is nothing from there on, and no square may overflow
    return select(abs(z) > kFar, abs(z), sqrt(fma(z, z, b)));
  }
  /// z + r, for negative z as b / (r - z), which does not cancel
  ENGINE_INLINE V twice(V z, V s) const {
    // Divided last, since s - z may be 0 where z is positive, and derivatives are made of what is not chosen, too.
    return select(z < 0.0f, b, z + s) / select(z < 0.0f, s - z, broadcast<V>(1.0f));
  }
  ENGINE_INLINE V forward(V z) const { return 0.5f * twice(z, root(z)); }
  ENGINE_INLINE V backward(V dy, V z) const {
    const V s = root(z);
    return dy * (0.5f * (twice(z, s) / s));
  }
};

/// dy where z lies between low and high, else 0.
template <class V>
ENGINE_INLINE V between(V dy, V z, float low, float high) {
  return select((z > low) & (z < high), dy, V{});
}

/// y = min(max(z, 0), 6); dz = dy where 0 < z < 6, else 0.
template <class V>
struct Relu6 {
  static constexpr Activation kKind = Activation::kRelu6;
  static ENGINE_INLINE V forward(V z) { return clamp_open(z, 0.0f, 6.0f); }
  static ENGINE_INLINE V backward(V dy, V z) { return between(dy, z, 0.0f, 6.0f); }
};

/// y = min(max(z, -1), 1); dz = dy where |z| <= 1, else 0.
template <class V>
struct HardTanh {
  static constexpr Activation kKind = Activation::kHardTanh;
  static ENGINE_INLINE V forward(V z) { return clamp(z, -1.0f, 1.0f); }
  static ENGINE_INLINE V backward(V dy, V z) { return select(abs(z) > 1.0f, V{}, dy); }
};

/// y = relu6(z + 3) / 6; dz = dy / 6 where -3 < z < 3, else 0.
template <class V>
struct HardSigmoid {
  static constexpr Activation kKind = Activation::kHardSigmoid;
  static ENGINE_INLINE V forward(V z) { return Relu6<V>::forward(z + 3.0f) / 6.0f; }
  static ENGINE_INLINE V backward(V dy, V z) { return between(dy / 6.0f, z, -3.0f, 3.0f); }
};

/// y = z h(z) with h = hard_sigmoid; dz = dy (h(z) + z h'(z)). (Howard et al. 2019)
template <class V>
struct HardSilu {
  static constexpr Activation kKind = Activation::kHardSilu;
  static ENGINE_INLINE V forward(V z) { return z * HardSigmoid<V>::forward(z); }
  static ENGINE_INLINE V backward(V dy, V z) {
    return dy * (HardSigmoid<V>::forward(z) + HardSigmoid<V>::backward(z, z));
  }
};

/// y = 0 up to z = -1, z from 1 on, (z + 1)^2 / 4 between; dz = dy (min(max(z, -1), 1) + 1) / 2.
template <class V>
struct SparsePlus {
  static constexpr Activation kKind = Activation::kSparsePlus;
  static ENGINE_INLINE V forward(V z) {
    const V s = z + 1.0f;
    return select(z <= -1.0f, V{}, select(z >= 1.0f, z, 0.25f * (s * s)));
  }
  static ENGINE_INLINE V backward(V dy, V z) { return dy * (0.5f * (clamp_open(z, -1.0f, 1.0f) + 1.0f)); }
};

/// y = (min(max(z, -1), 1) + 1) / 2; dz = dy / 2 where |z| < 1, dy / 4 where |z| = 1, else 0. (Blondel et al. 2019)
template <class V>
struct SparseSigmoid {
  static constexpr Activation kKind = Activation::kSparseSigmoid;
  static ENGINE_INLINE V forward(V z) { return 0.5f * (at_most(at_least(z, -1.0f), 1.0f) + 1.0f); }
  static ENGINE_INLINE V backward(V dy, V z) {
    const V a = abs(z);
    return dy * select(a > 1.0f, V{}, select(a == 1.0f, broadcast<V>(0.25f), broadcast<V>(0.5f)));
  }
};

/// y = z where z >= 0, else slope z; dz = dy or slope dy. Parameters: slope. (Maas et al. 2013)
template <class V>
struct LeakyRelu {
  static constexpr Activation kKind = Activation::kLeakyRelu;
  V slope;
  ENGINE_INLINE explicit LeakyRelu(const float* p) : slope(broadcast<V>(p[0])) {}
  ENGINE_INLINE V forward(V z) const { return select(z < 0.0f, slope * z, z); }
  ENGINE_INLINE V backward(V dy, V z) const { return select(z < 0.0f, slope * dy, dy); }
};

/// The smaller one of x and a constant, like `at_most`, whose derivative is 1 / 2 where they are equal; here it is 0.
template <class V>
ENGINE_INLINE V at_most_open(V x, float most) {
  return at_most(x, most);
}

/// Keras' ReLU: y = min(z, high) where z > threshold, else slope (z - threshold). The first part is at least 0 where a
/// highest value is set or the threshold is 0. dz = dy in the first part, dy / 2 at its least and highest value, and
/// slope dy below the threshold. At a highest value of 6 from the threshold 0 on, dz = 0: Keras takes relu6 there.
/// Parameters: slope, high, threshold.
template <class V>
struct GeneralRelu {
  static constexpr Activation kKind = Activation::kGeneralRelu;
  V slope, threshold, begin;  // the slope counts below `begin`: nowhere if it is 0, which times infinity would be NaN
  float high, low;
  bool is_relu6;
  ENGINE_INLINE explicit GeneralRelu(const float* p)
      : slope(broadcast<V>(p[0])),
        threshold(broadcast<V>(p[2])),
        begin(broadcast<V>(p[0] == 0.0f ? -kInfinity : p[2])),
        high(p[1]),
        low(p[1] < kInfinity || p[2] == 0.0f ? 0.0f : -kInfinity),
        is_relu6(p[1] == 6.0f && p[2] == 0.0f) {}
  ENGINE_INLINE V forward(V z) const {
    const V above = at_least(select(z <= threshold, V{}, z), low);
    const V below = select(z < begin, threshold - z, V{});
    return (is_relu6 ? at_most_open(above, high) : at_most(above, high)) - slope * below;
  }
  ENGINE_INLINE V backward(V dy, V z) const {
    const float at_high = high == kInfinity ? 1.0f : is_relu6 ? 0.0f : 0.5f;
    const V inner = select(z == high, at_high * dy, select(z == low, 0.5f * dy, dy));
    const V above = select((z > threshold) & (z >= low) & (z <= high), inner, V{});
    return above + select(z < begin, slope * dy, V{});
  }
};

/// y = z - threshold where z > threshold, z + threshold where z < -threshold, else 0; dz = dy where y is not 0.
/// Parameters: threshold.
template <class V>
struct SoftShrink {
  static constexpr Activation kKind = Activation::kSoftShrink;
  V threshold;
  ENGINE_INLINE explicit SoftShrink(const float* p) : threshold(broadcast<V>(p[0])) {}
  ENGINE_INLINE V forward(V z) const {
    return select(abs(z) <= threshold, V{}, select(z < 0.0f, z + threshold, z - threshold));
  }
  ENGINE_INLINE V backward(V dy, V z) const { return select(abs(z) <= threshold, V{}, dy); }
};

/// y = z where |z| > threshold, else 0; dz = dy there. Parameters: threshold.
template <class V>
struct HardShrink {
  static constexpr Activation kKind = Activation::kHardShrink;
  V threshold;
  ENGINE_INLINE explicit HardShrink(const float* p) : threshold(broadcast<V>(p[0])) {}
  ENGINE_INLINE V forward(V z) const { return select(abs(z) <= threshold, V{}, z); }
  ENGINE_INLINE V backward(V dy, V z) const { return select(abs(z) <= threshold, V{}, dy); }
};

/// y = z where z > threshold, else a constant; dz = dy there. Parameters: threshold, the constant.
template <class V>
struct Threshold {
  static constexpr Activation kKind = Activation::kThreshold;
  V threshold, otherwise;
  ENGINE_INLINE explicit Threshold(const float* p) : threshold(broadcast<V>(p[0])), otherwise(broadcast<V>(p[1])) {}
  ENGINE_INLINE V forward(V z) const { return select(z <= threshold, otherwise, z); }
  ENGINE_INLINE V backward(V dy, V z) const { return select(z <= threshold, V{}, dy); }
};

/// All of them, in the order of the enum.
template <class V>
using ElementwiseActivations =
    Types<Linear<V>, Relu<V>, Sigmoid<V>, Tanh<V>, Exponential<V>, Silu<V>, Gelu<V>, GeluTanh<V>, Mish<V>, Softplus<V>,
          LogSigmoid<V>, Softsign<V>, TanhShrink<V>, Elu<V>, Selu<V>, Celu<V>, Squareplus<V>, Relu6<V>, LeakyRelu<V>,
          GeneralRelu<V>, HardTanh<V>, HardSigmoid<V>, HardSilu<V>, SparsePlus<V>, SparseSigmoid<V>, SoftShrink<V>,
          HardShrink<V>, Threshold<V>>;

}  // namespace
}  // namespace engine::formulas
