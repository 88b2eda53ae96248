// a to the power b, as 2^(b log2(a)). An error of log2(a) is multiplied by b, so that the logarithm is computed with
// about twice the precision of a float. `error_of_x` is what rounding has left out of x, to be added to it.
#pragma once
#include "formulas/elementary.h"
#include "formulas/rounding.h"

namespace engine::formulas {
namespace {

/// A number as the sum of two floats: its nearest float, and the rest.
template <class V>
struct Pair {
  V high, low;
};

/// log2(x) for x >= 0, as e + log2(m), where x = m 2^e with m in [sqrt(1/2), sqrt(2)).
/// ln(m) = 2 artanh(s) = 2 s + 2/3 s^3 + 2/5 s^5 + ... with s = (m - 1) / (m + 1)
template <class V>
ENGINE_INLINE Pair<V> precise_log2(V x) {
  constexpr float kR[] = {0.234180599f, 0.285471588f, 0.400001526f};
  constexpr float kTwoThirds[] = {0.666666687f, -1.98682148e-08f};
  constexpr float kLog2e[] = {1.44269502f, 1.92596299e-08f};
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const BitsOf<V> u = Number<V>::subtract(bits(x), kSqrtHalf);
  const V e = Number<V>::from_integer(u >> 23);
  const V m = from_bits<V>((u & 0x7fffff) + kSqrtHalf);
  const V f = m - 1.0f, g = m + 1.0f;
  const V error_of_g = m - (g - 1.0f);
  const V s = f / g;
  const V error_of_s = (fma(-s, g, f) - s * error_of_g) / g;
  // ln(m) = 2 s + 2/3 s^3 + s^5 R(s^2) with a minimax polynomial R. Only its last summand is small enough for the plain
  // precision of floats.
  const V w = s * s;
  const V cube = s * w;
  const V error_of_cube = fma(s, w, -cube) + s * fma(s, s, -w);
  const V third = cube * kTwoThirds[0];
  const V error_of_third =
      fma(cube, broadcast<V>(kTwoThirds[0]), -third) +
      fma(cube, fma(w, polynomial(w, kR), broadcast<V>(kTwoThirds[1])), error_of_cube * kTwoThirds[0]);
  const V twice = s + s;
  const V ln = twice + third;
  const V error_of_ln = (third - (ln - twice)) + (error_of_third + fma(error_of_s, w + w, error_of_s + error_of_s));
  const V product = ln * kLog2e[0];
  const V error_of_product =
      fma(ln, broadcast<V>(kLog2e[0]), -product) + fma(ln, broadcast<V>(kLog2e[1]), error_of_ln * kLog2e[0]);
  const V high = e + product;
  const V low = (product - (high - e)) + error_of_product;
  const auto is_number = (x > 0.0f) & (x < kInfinity);
  const V special = x == 0.0f ? broadcast<V>(-kInfinity) : x;
  return {is_number ? high : special, is_number ? low : V{}};
}

/// 2^x = 2^n 2^r with an integer n and |r| <= 1/2. Results below 2^-126 are zero. 2^n comes in two factors, as n may be
/// larger than the exponent of any float.
template <class V>
ENGINE_INLINE V exp2(Pair<V> x) {
  constexpr float kX[] = {0.000155961825f, 0.00134072569f, 0.00961768627f, 0.055503089f, 0.240226522f, 0.693147242f};
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  constexpr float kLowest = -126.0f, kHighest = 130.0f;
  const auto within = (x.high >= kLowest) & (x.high < kHighest);
  const V high = within ? x.high : V{}, low = within ? x.low : V{};
  const V t = high + kRounder;
  const V r = (high - (t - kRounder)) + low;
  const BitsOf<V> n = bits(t) - bits(broadcast<V>(kRounder)), half = n >> 1;
  const V y = fma(r, polynomial(r, kX), broadcast<V>(1.0f)) * power_of_two<V>(half) * power_of_two<V>(n - half);
  return within ? y : x.high < kLowest ? V{} : x.high >= kHighest ? broadcast<V>(kInfinity) : x.high;
}

/// a^b, with the special cases of C's powf: a^0 = 1^b = 1 even for NaN, (-1)^(+-inf) = 1, and NaN for a negative a and
/// a b that is no integer.
template <class V>
ENGINE_FMA_INLINE V pow(V a, V b) {
  const V one = broadcast<V>(1.0f);
  const V size = abs(a);
  const Pair<V> log2 = precise_log2(size);
  const V high = b * log2.high;
  const V magnitude = exp2(Pair<V>{high, fma(b, log2.high, -high) + b * log2.low});
  const V half = b * 0.5f;
  const auto is_integer = floor(b) == b;
  const BitsOf<V> is_odd = Number<V>::mask(is_integer & (floor(half) != half));
  const V signed_magnitude = from_bits<V>(bits(size == 1.0f ? one : magnitude) ^ (bits(a) & is_odd & ~0x7fffffff));
  const V no_number = broadcast<V>(__builtin_nanf(""));
  const V y = ((a < 0.0f) & (a > -kInfinity) & (floor(b) != b)) ? no_number : signed_magnitude;
  return ((b == 0.0f) | (a == 1.0f)) ? one : b == b ? y : b;
}

}  // namespace
}  // namespace engine::formulas
