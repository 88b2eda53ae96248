// Rounding to integers, remainders, signs, minima and maxima. All of them are exact, and so the same on every device.
#pragma once
#include "formulas/number.h"

namespace engine::formulas {
namespace {

/// All floats of this magnitude and above are integers.
constexpr float kNoFractions = 0x1p23f;

/// `yes` where the bits of the mask are set, else `no`, bit for bit: denormals are not flushed to zero.
template <class V>
ENGINE_INLINE V choose(BitsOf<V> mask, V yes, V no) {
  return from_bits<V>((bits(yes) & mask) | (bits(no) & ~mask));
}

/// x with the sign of `of`
template <class V>
ENGINE_INLINE V copy_sign(V x, V of) {
  return from_bits<V>((bits(x) & 0x7fffffff) | (bits(of) & ~0x7fffffff));
}

/// The nearest integer; the even one if two are as near. Adding 2^23 leaves no bits for a fraction, so that it rounds.
template <class V>
ENGINE_INLINE V round_to_even(V x) {
  const V a = abs(x);
  const V whole = (a + kNoFractions) - kNoFractions;
  return a < kNoFractions ? copy_sign(whole, x) : x;
}

template <class V>
ENGINE_INLINE V floor(V x) {
  const V nearest = round_to_even(x);
  return nearest > x ? nearest - 1.0f : nearest;
}

/// -1, 0 or 1; NaN stays NaN
template <class V>
ENGINE_INLINE V signum(V x) {
  const V one = broadcast<V>(1.0f);
  return x > 0.0f ? one : x < 0.0f ? -one : x == 0.0f ? V{} : x;
}

/// NaN if either is NaN
template <class V>
ENGINE_INLINE V minimum(V a, V b) {
  const V least = choose(Number<V>::mask(a <= b), a, b);
  return a == a ? least : a;
}

template <class V>
ENGINE_INLINE V maximum(V a, V b) {
  const V most = choose(Number<V>::mask(a >= b), a, b);
  return a == a ? most : a;
}

/// Subtracts multiples of `divisor` > 0 from `rest` until |rest| < 2^23 divisor. It is exact: what remains of a float
/// after the divisor times a rounded quotient is a float again.
template <class V>
ENGINE_FMA_INLINE V without_large_multiples(V rest, V divisor) {
  const V limit = divisor * kNoFractions;
  for (;;) {
    const BitsOf<V> large = Number<V>::mask(abs(rest) >= limit);
    if (!Number<V>::any(large)) return rest;
    rest = choose(large, fma(-(rest / divisor), divisor, rest), rest);
  }
}

/// a - b floor(a / b): 0 or a number with the sign of b, as Python's a % b
template <class V>
ENGINE_FMA_INLINE V remainder(V a, V b) {
  const V size = abs(b);
  V rest = a;
  if (Number<V>::any(Number<V>::mask(abs(a) >= size * kNoFractions))) {
    // First by multiples of large powers of two, as the quotient of a by b itself may be larger than any float.
    rest = without_large_multiples(rest, size * 0x1p126f);
    rest = without_large_multiples(rest, size * 0x1p64f);
    rest = without_large_multiples(rest, size);
  }
  const V r = fma(-floor(rest / b), b, rest);
  // rest / b may have been rounded up to the next integer, so that r has the wrong sign or is as large as b.
  const V of_large = abs(r) >= size ? r - b : (((r < 0.0f) != (b < 0.0f)) & (r != 0.0f)) ? r + b : r;
  const V of_small = (rest < 0.0f) == (b < 0.0f) ? rest : rest + b;
  const V result = abs(rest) < size ? of_small : of_large;
  return ((result == 0.0f) | ((rest == 0.0f) & (size > 0.0f))) ? copy_sign(V{}, b) : result;
}

}  // namespace
}  // namespace engine::formulas
