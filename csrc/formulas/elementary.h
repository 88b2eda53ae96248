// Elementary functions: the same operations for every number type, and no libm, so that every device gives the same
// bits. The polynomials are Chebyshev fits; the tests hold each function to a few ulp of float64.
#pragma once
#include "formulas/number.h"

namespace engine::formulas {
namespace {

constexpr float kLn2High = 0.693359375f;  // 9 bits, so that n * kLn2High is exact for |n| <= 128
constexpr float kLn2Low = -2.12194442e-4f;

/// Horner's scheme, highest coefficient first.
template <class V, int N>
ENGINE_INLINE V polynomial(V x, const float (&coefficients)[N]) {
  V p = broadcast<V>(coefficients[0]);
  ENGINE_UNROLL(16)
  for (int i = 1; i < N; ++i) p = fma(p, x, broadcast<V>(coefficients[i]));
  return p;
}

/// 2^n for integer n in [-126, 127]
template <class V>
ENGINE_INLINE V power_of_two(BitsOf<V> n) {
  return from_bits<V>(Number<V>::shift_left(n + 127, 23));
}

constexpr float kLowestExponent = -87.336544f;  // ln(2^-126)

/// x = n ln2 + r with |r| <= ln2 / 2, for x in [kLowestExponent, ln(largest float)]; exp(r) - 1 = r + r^2 q(r)
template <class V>
struct Reduced {
  V r;
  BitsOf<V> n;

  ENGINE_INLINE explicit Reduced(V x) {
    constexpr float kLog2e = 1.44269504f;
    constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const V t = fma(x, broadcast<V>(kLog2e), broadcast<V>(kRounder));
    const V whole = t - kRounder;
    r = fma(whole, broadcast<V>(-kLn2Low), fma(whole, broadcast<V>(-kLn2High), x));
    n = bits(t) - bits(broadcast<V>(kRounder));
  }
  /// first + r^2 q(r)
  ENGINE_INLINE V series(V first) const {
    constexpr float kQ[] = {1.3926927e-3f, 8.363774e-3f, 4.166655e-2f, 0.16666573f, 0.5f};
    return fma(r * r, polynomial(r, kQ), first);
  }
};

/// exp(x); results below 2^-126 are zero.
template <class V>
ENGINE_FMA_INLINE V exp(V x) {
  constexpr float kHighest = 88.7228394f;  // ln(largest float)
  const Reduced<V> y(x < kLowestExponent ? broadcast<V>(kLowestExponent) : x > kHighest ? broadcast<V>(kHighest) : x);
  // Two factors, since 2^128 is no float.
  const BitsOf<V> half = y.n >> 1;
  const V e = y.series(y.r + 1.0f) * power_of_two<V>(half) * power_of_two<V>(y.n - half);
  return x < kLowestExponent ? V{} : x > kHighest ? broadcast<V>(kInfinity) : e;
}

/// exp(x) where x <= 0. What it returns for other numbers is not used.
template <class V>
ENGINE_INLINE V exp_negative(V x) {
  return exp(x);
}

/// exp(x) - 1 for x <= 0: 2^n (exp(r) - 1) + (2^n - 1), so that nothing cancels where n is 0
template <class V>
ENGINE_FMA_INLINE V expm1_negative(V x) {
  const Reduced<V> y(x < kLowestExponent ? broadcast<V>(kLowestExponent) : x > 0.0f ? V{} : x);
  const V scale = power_of_two<V>(y.n);
  return fma(scale, y.series(y.r), scale - 1.0f);
}

/// exp(x) - 1 for any x, in the same way. What is left of 2^n, which may be no float, is a factor at the end.
template <class V>
ENGINE_FMA_INLINE V expm1(V x) {
  constexpr float kHighest = 88.7228394f;  // ln(largest float)
  const Reduced<V> y(x < kLowestExponent ? broadcast<V>(kLowestExponent) : x > kHighest ? broadcast<V>(kHighest) : x);
  const BitsOf<V> rest = ((64 - y.n) >> 31) & 64;  // 64 where n is larger than that, else 0
  const V scale = power_of_two<V>(y.n - rest);
  const V e = fma(scale, y.series(y.r), scale - power_of_two<V>(-rest)) * power_of_two<V>(rest);
  return x == 0.0f ? x : x > kHighest ? broadcast<V>(kInfinity) : e;
}

/// log(x): x = m 2^e with m in [sqrt(1/2), sqrt(2)), log(m) = 2 artanh(s), s = (m - 1) / (m + 1)
template <class V>
ENGINE_FMA_INLINE V log(V x) {
  constexpr float kR[] = {0.2334461f, 0.28550297f, 0.40000126f, 0.66666669f};
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const BitsOf<V> u = Number<V>::subtract(bits(x), kSqrtHalf);
  const BitsOf<V> e = u >> 23;
  const V m = from_bits<V>((u & 0x7fffff) + kSqrtHalf);
  const V f = m - 1.0f;
  const V s = f / (f + 2.0f);
  const V w = s * s;
  const V half_square = f * f * 0.5f;
  const V rest = w * polynomial(w, kR);
  const V n = Number<V>::from_integer(e);
  // f - (f^2/2 - s (f^2/2 + R)) keeps the leading term exact (as in fdlibm's logf).
  const V low = fma(s, half_square + rest, n * kLn2Low);
  const V y = fma(n, broadcast<V>(kLn2High), f - (half_square - low));
  const V special = x == 0.0f ? broadcast<V>(-kInfinity) : x < 0.0f ? broadcast<V>(__builtin_nanf("")) : x;
  return ((x > 0.0f) & (x < kInfinity)) ? y : special;
}

/// log(1 + x) for x in [0, 1], and for any other finite x: the rounding error of 1 + x is divided out (Kahan).
template <class V>
ENGINE_FMA_INLINE V log1p_unit(V x) {
  const V u = x + 1.0f;
  const V d = u - 1.0f;
  return d == 0.0f ? x : log(u) * (x / d);
}

/// log(1 + x) for any x
template <class V>
ENGINE_FMA_INLINE V log1p(V x) {
  return x == kInfinity ? x : log1p_unit(x);
}

/// 1 / (1 + exp(-x)), by the side that cannot overflow
template <class V>
ENGINE_FMA_INLINE V sigmoid(V x) {
  const V e = exp(-abs(x));
  const V r = 1.0f / (e + 1.0f);
  return x < 0.0f ? e * r : r;
}

/// log(1 + exp(x)), from the exponential that cannot overflow
template <class V>
ENGINE_INLINE V softplus(V x) {
  return (x < 0.0f ? V{} : x) + log1p_unit(exp(-abs(x)));
}

/// log(1 + exp(x)) - y, where y is taken away before small terms are added
template <class V>
ENGINE_INLINE V softplus_less(V x, V y) {
  return at_least(x, 0.0f) - y + log1p_unit(exp(-abs(x)));
}

/// log(cosh(x)) = |x| + log(1 + exp(-2 |x|)) - log(2)
template <class V>
ENGINE_INLINE V log_cosh(V x) {
  constexpr float kLn2 = 0.693147181f;
  const V size = abs(x);
  return size + log1p_unit(exp(-(size + size))) - kLn2;
}

/// Near zero tanh(x) = x + x^3 t(x^2).
constexpr float kTanhNear = 0.63f;
template <class V>
ENGINE_INLINE V tanh_series(V u) {
  constexpr float kT[] = {-6.045165e-3f, 2.0961329e-2f, -5.3843264e-2f, 0.13332719f, -0.33333328f};
  return polynomial(u, kT);
}

/// tanh(x): an odd polynomial near zero, 1 - 2 / (exp(2|x|) + 1) elsewhere
template <class V>
ENGINE_FMA_INLINE V tanh(V x) {
  const V a = abs(x);
  const V u = x * x;
  const V near = fma(x * u, tanh_series(u), x);
  const V far = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  return a < kTanhNear ? near : x < 0.0f ? -far : far;
}

/// x - tanh(x), near zero without their difference
template <class V>
ENGINE_INLINE V tanh_shrink(V x) {
  const V u = x * x;
  return abs(x) < kTanhNear ? -(x * u) * tanh_series(u) : x - tanh(x);
}

/// The normal distribution at x.
template <class V>
struct Normal {
  V cdf, density;
};

/// In the lower tail cdf(-t) = exp(-t^2 / 2) q p(q) with q = 1 / (1 + 0.35 t) and p a minimax fit (relative error
/// 3e-8). `gaussian` is the exponential.
template <class V>
ENGINE_INLINE V normal_tail(V t, V gaussian) {
  constexpr float kP[] = {-0.02915803f, 0.14403161f, -0.25584042f, 0.15932128f, -0.023213407f,
                          0.10555293f,  0.11982118f, 0.13986352f,  0.1396213f};
  constexpr float kRate = 0.35f;
  const V q = 1.0f / fma(t, broadcast<V>(kRate), broadcast<V>(1.0f));
  return gaussian * (q * polynomial(q, kP));
}

/// What rounding t^2 takes from the exponent is put back as a factor.
template <class V>
ENGINE_FMA_INLINE Normal<V> normal(V x) {
  constexpr float kFar = 14.0f;          // the tail is below the smallest float from there on
  constexpr float kScale = 0.39894228f;  // 1 / sqrt(2 pi)
  const V a = abs(x);
  const V t = a > kFar ? broadcast<V>(kFar) : a;
  const V square = t * t;
  const V rest = fma(t, t, -square);
  const V gaussian = exp(-0.5f * square) * fma(rest, broadcast<V>(-0.5f), broadcast<V>(1.0f));
  const V tail = normal_tail(t, gaussian);
  return {x > 0.0f ? 1.0f - tail : tail, gaussian * kScale};
}

/// exp(-x^2), in the same way
template <class V>
ENGINE_FMA_INLINE V gaussian(V x) {
  constexpr float kFar = 10.0f;  // the result is below the smallest float from there on
  const V a = abs(x);
  const V t = a > kFar ? broadcast<V>(kFar) : a;
  const V square = t * t;
  return exp(-square) * (1.0f - fma(t, t, -square));
}

/// The error function, given exp(-x^2): an odd polynomial near zero, by the tail of the normal distribution elsewhere
template <class V>
ENGINE_FMA_INLINE V erf(V x, V gaussian) {
  constexpr float kE[] = {-0.000674951356f, 0.00511434581f, -0.0268346239f, 0.112833768f, -0.3761262f, 0.128379166f};
  constexpr float kNear = 0.75f, kRootOfTwo = 1.41421356f;
  const V a = abs(x);
  const V near = fma(x, polynomial(x * x, kE), x);
  const V far = 1.0f - 2.0f * normal_tail(a * kRootOfTwo, gaussian);
  return a < kNear ? near : x < 0.0f ? -far : far;
}

/// The inverse of the error function, to 2e-7 (Giles, "Approximating the erfinv function", 2012).
template <class V>
ENGINE_INLINE V inverse_erf(V x) {
  constexpr float kCentre[] = {2.81022636e-08f, 3.43273939e-07f, -3.5233877e-06f, -4.39150654e-06f, 0.00021858087f,
                               -0.00125372503f, -0.00417768164f, 0.246640727f,    1.50140941f};
  constexpr float kTail[] = {-0.000200214257f, 0.000100950558f, 0.00134934322f, -0.00367342844f, 0.00573950773f,
                             -0.0076224613f,   0.00943887047f,  1.00167406f,    2.83297682f};
  const V w = -log((1.0f - x) * (1.0f + x));
  const V p = w < 5.0f ? polynomial(w - 2.5f, kCentre) : polynomial(sqrt(w) - 3.0f, kTail);
  return p * x;
}

/// The same, with the infinities at both ends
template <class V>
ENGINE_FMA_INLINE V erfinv(V x) {
  return abs(x) == 1.0f ? x * kInfinity : inverse_erf(x);
}

}  // namespace
}  // namespace engine::formulas
