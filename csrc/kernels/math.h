// Transcendental functions: the same operations on every instruction set, no libm. Polynomials are Chebyshev
// fits in double-checked precision; the tests hold each function to a few ulp of float64.
#pragma once
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kLn2High = 0.693359375f;  // 9 bits, so that n * kLn2High is exact for |n| <= 128
constexpr float kLn2Low = -2.12194442e-4f;

/// A NaN stays visible, and so does a denormal: by masks, as GCC 16 makes instructions of two choices that take the
/// smaller or larger number, which flush it, on some instruction sets but not on others.
ENGINE_INLINE vf clamp(vf x, float low, float high) {
  const vi below = x < low;
  const vi above = x > high;
  return from_bits((bits(x) & ~(below | above)) | (bits(broadcast(low)) & below) | (bits(broadcast(high)) & above));
}

/// Horner's scheme, highest coefficient first.
template <int N>
ENGINE_INLINE vf polynomial(vf x, const float (&coefficients)[N]) {
  vf p = broadcast(coefficients[0]);
#pragma GCC unroll 16
  for (int i = 1; i < N; ++i) p = fma(p, x, broadcast(coefficients[i]));
  return p;
}

/// 2^n for integer n in [-126, 127]
ENGINE_INLINE vf power_of_two(vi n) { return from_bits((n + 127) << 23); }

constexpr float kLowestExponent = -87.336544f;  // ln(2^-126)

/// x = n ln2 + r with |r| <= ln2 / 2, for x in [kLowestExponent, ln(largest float)]; exp(r) - 1 = r + r^2 q(r)
struct Reduced {
  vf r;
  vi n;

  ENGINE_INLINE explicit Reduced(vf x) {
    constexpr float kLog2e = 1.44269504f;
    constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const vf t = fma(x, broadcast(kLog2e), broadcast(kRounder));
    const vf whole = t - kRounder;
    r = fma(whole, broadcast(-kLn2Low), fma(whole, broadcast(-kLn2High), x));
    n = bits(t) - bits(broadcast(kRounder));
  }
  /// first + r^2 q(r)
  ENGINE_INLINE vf series(vf first) const {
    constexpr float kQ[] = {1.3926927e-3f, 8.363774e-3f, 4.166655e-2f, 0.16666573f, 0.5f};
    return fma(r * r, polynomial(r, kQ), first);
  }
};

/// exp(x); results below 2^-126 are zero.
ENGINE_FMA_INLINE vf exp(vf x) {
  constexpr float kHighest = 88.7228394f;  // ln(largest float)
  const Reduced y(x < kLowestExponent ? broadcast(kLowestExponent) : x > kHighest ? broadcast(kHighest) : x);
  // Two factors, since 2^128 is no float.
  const vi half = y.n >> 1;
  const vf e = y.series(y.r + 1.0f) * power_of_two(half) * power_of_two(y.n - half);
  return x < kLowestExponent ? vf{} : x > kHighest ? broadcast(kInfinity) : e;
}

/// exp(x) - 1 for x <= 0: 2^n (exp(r) - 1) + (2^n - 1), so that nothing cancels where n is 0
ENGINE_FMA_INLINE vf expm1_negative(vf x) {
  const Reduced y(x < kLowestExponent ? broadcast(kLowestExponent) : x > 0.0f ? vf{} : x);
  const vf scale = power_of_two(y.n);
  return fma(scale, y.series(y.r), scale - 1.0f);
}

/// log(x): x = m 2^e with m in [sqrt(1/2), sqrt(2)), log(m) = 2 artanh(s), s = (m - 1) / (m + 1)
ENGINE_FMA_INLINE vf log(vf x) {
  constexpr float kR[] = {0.2334461f, 0.28550297f, 0.40000126f, 0.66666669f};
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const vi u = bits(x) - kSqrtHalf;
  const vi e = u >> 23;
  const vf m = from_bits((u & 0x7fffff) + kSqrtHalf);
  const vf f = m - 1.0f;
  const vf s = f / (f + 2.0f);
  const vf w = s * s;
  const vf half_square = f * f * 0.5f;
  const vf rest = w * polynomial(w, kR);
  const vf n = __builtin_convertvector(e, vf);
  // f - (f^2/2 - s (f^2/2 + R)) keeps the leading term exact (as in fdlibm's logf).
  const vf low = fma(s, half_square + rest, n * kLn2Low);
  const vf y = fma(n, broadcast(kLn2High), f - (half_square - low));
  const vf special = x == 0.0f ? broadcast(-kInfinity) : x < 0.0f ? broadcast(__builtin_nanf("")) : x;
  return ((x > 0.0f) & (x < kInfinity)) ? y : special;
}

/// log(1 + x) for x in [0, 1]: the rounding error of 1 + x is divided out (Kahan).
ENGINE_FMA_INLINE vf log1p_unit(vf x) {
  const vf u = x + 1.0f;
  const vf d = u - 1.0f;
  return d == 0.0f ? x : log(u) * (x / d);
}

/// 1 / (1 + exp(-x)), by the side that cannot overflow
ENGINE_FMA_INLINE vf sigmoid(vf x) {
  const vf e = exp(-abs(x));
  const vf r = 1.0f / (e + 1.0f);
  return x < 0.0f ? e * r : r;
}

/// log(1 + exp(x)), from the exponential that cannot overflow
ENGINE_INLINE vf softplus(vf x) { return (x < 0.0f ? vf{} : x) + log1p_unit(exp(-abs(x))); }

/// Near zero tanh(x) = x + x^3 t(x^2).
constexpr float kTanhNear = 0.63f;
ENGINE_INLINE vf tanh_series(vf u) {
  constexpr float kT[] = {-6.045165e-3f, 2.0961329e-2f, -5.3843264e-2f, 0.13332719f, -0.33333328f};
  return polynomial(u, kT);
}

/// tanh(x): an odd polynomial near zero, 1 - 2 / (exp(2|x|) + 1) elsewhere
ENGINE_FMA_INLINE vf tanh(vf x) {
  const vf a = abs(x);
  const vf u = x * x;
  const vf near = fma(x * u, tanh_series(u), x);
  const vf far = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  return a < kTanhNear ? near : x < 0.0f ? -far : far;
}

/// x - tanh(x), near zero without their difference
ENGINE_INLINE vf tanh_shrink(vf x) {
  const vf u = x * x;
  return abs(x) < kTanhNear ? -(x * u) * tanh_series(u) : x - tanh(x);
}

/// The normal distribution at x.
struct Normal {
  vf cdf, density;
};

/// In the lower tail cdf(-t) = exp(-t^2 / 2) q p(q) with q = 1 / (1 + 0.35 t) and p a minimax fit (relative error
/// 3e-8); what rounding t^2 takes from the exponent is put back as a factor.
ENGINE_FMA_INLINE Normal normal(vf x) {
  constexpr float kP[] = {-0.02915803f, 0.14403161f, -0.25584042f, 0.15932128f, -0.023213407f,
                          0.10555293f,  0.11982118f, 0.13986352f,  0.1396213f};
  constexpr float kRate = 0.35f;
  constexpr float kFar = 14.0f;          // the tail is below the smallest float from there on
  constexpr float kScale = 0.39894228f;  // 1 / sqrt(2 pi)
  const vf a = abs(x);
  const vf t = a > kFar ? broadcast(kFar) : a;
  const vf square = t * t;
  const vf rest = fma(t, t, -square);
  const vf bell = exp(-0.5f * square) * fma(rest, broadcast(-0.5f), broadcast(1.0f));
  const vf q = 1.0f / fma(t, broadcast(kRate), broadcast(1.0f));
  const vf tail = bell * (q * polynomial(q, kP));
  return {x > 0.0f ? 1.0f - tail : tail, bell * kScale};
}

}  // namespace
}  // namespace engine::ENGINE_ISA
