// Transcendental functions: the same operations on every instruction set, no libm. Polynomials are Chebyshev
// fits in double-checked precision; the tests hold each function to a few ulp of float64.
#pragma once
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kLn2High = 0.693359375f;  // 9 bits, so that n * kLn2High is exact for |n| <= 128
constexpr float kLn2Low = -2.12194442e-4f;

/// Horner's scheme, highest coefficient first.
template <int N>
ENGINE_INLINE vf polynomial(vf x, const float (&coefficients)[N]) {
  vf p = broadcast(coefficients[0]);
#pragma GCC unroll 8
  for (int i = 1; i < N; ++i) p = fma(p, x, broadcast(coefficients[i]));
  return p;
}

/// 2^n for integer n in [-126, 127]
ENGINE_INLINE vf power_of_two(vi n) { return from_bits((n + 127) << 23); }

/// exp(x): x = n ln2 + r, exp(r) = 1 + r + r^2 q(r). Results below 2^-126 are zero.
ENGINE_INLINE vf exp(vf x) {
  constexpr float kQ[] = {1.3926927e-3f, 8.363774e-3f, 4.166655e-2f, 0.16666573f, 0.5f};
  constexpr float kLog2e = 1.44269504f;
  constexpr float kLowest = -87.336544f;   // ln(2^-126)
  constexpr float kHighest = 88.7228394f;  // ln(largest float)
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const vf y = x < kLowest ? broadcast(kLowest) : x > kHighest ? broadcast(kHighest) : x;
  const vf t = fma(y, broadcast(kLog2e), broadcast(kRounder));
  const vf n = t - kRounder;
  const vf r = fma(n, broadcast(-kLn2Low), fma(n, broadcast(-kLn2High), y));
  const vf p = fma(r * r, polynomial(r, kQ), r + 1.0f);
  // Two factors, since 2^128 is no float.
  const vi whole = bits(t) - bits(broadcast(kRounder));
  const vi half = whole >> 1;
  const vf e = p * power_of_two(half) * power_of_two(whole - half);
  return x < kLowest ? vf{} : x > kHighest ? broadcast(kInfinity) : e;
}

/// log(x): x = m 2^e with m in [sqrt(1/2), sqrt(2)), log(m) = 2 artanh(s), s = (m - 1) / (m + 1)
ENGINE_INLINE vf log(vf x) {
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
ENGINE_INLINE vf log1p_unit(vf x) {
  const vf u = x + 1.0f;
  const vf d = u - 1.0f;
  return d == 0.0f ? x : log(u) * (x / d);
}

/// 1 / (1 + exp(-x)), by the side that cannot overflow
ENGINE_INLINE vf sigmoid(vf x) {
  const vf e = exp(-abs(x));
  const vf r = 1.0f / (e + 1.0f);
  return x < 0.0f ? e * r : r;
}

/// tanh(x): an odd polynomial near zero, 1 - 2 / (exp(2|x|) + 1) elsewhere
ENGINE_INLINE vf tanh(vf x) {
  constexpr float kT[] = {-6.045165e-3f, 2.0961329e-2f, -5.3843264e-2f, 0.13332719f, -0.33333328f};
  constexpr float kNear = 0.63f;
  const vf a = abs(x);
  const vf u = x * x;
  const vf near = fma(x * u, polynomial(u, kT), x);
  const vf far = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  return a < kNear ? near : x < 0.0f ? -far : far;
}

}  // namespace
}  // namespace engine::ENGINE_ISA
