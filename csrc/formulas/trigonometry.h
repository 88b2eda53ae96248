// Sine, cosine and the angle of a vector. The polynomials are minimax fits; errors are below 2 ulp.
#pragma once
#include "formulas/elementary.h"
#include "formulas/rounding.h"

namespace engine::formulas {
namespace {

/// pi / 2 as a sum of three floats, and pi as one of two. They are no arrays, which kernels of a GPU could not read.
constexpr float kHalfPi = 1.57079637f, kHalfPiMiddle = -4.37113883e-08f, kHalfPiLow = -1.71512451e-15f;
constexpr float kPi = 3.14159274f, kPiLow = -8.742278e-08f;

/// An angle x reduced to x = n pi / 2 + high + low, with |high + low| hardly above pi / 4. `n` is right modulo 4.
template <class V>
struct Angle {
  V high, low;
  BitsOf<V> n;
};

/// From here on, n has too many bits for the products with the parts of pi / 2 to be exact: `LargeAngle` uses integers.
constexpr float kLargeAngle = 0x1p17f;

/// x reduced to n pi / 2 + rest, for |x| >= kLargeAngle (Payne and Hanek): x 2 / pi, modulo 4, from the 24 bits of x
/// and those 96 bits of 2 / pi that matter. Bits before these contribute multiples of 4 to n.
struct LargeAngle {
  float rest;
  int32_t n;

  ENGINE_INLINE explicit LargeAngle(float x) {
    constexpr uint32_t kTwoOverPi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                       0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561};
    constexpr double kHalfPiOver62 = 1.57079632679489661923 * 0x1p-62;
    const int32_t b = Number<float>::bits(x);
    const uint32_t m = (static_cast<uint32_t>(b) & 0x7fffffu) | 0x800000u;
    const int32_t exponent = ((b >> 23) & 0xff) - 150;  // |x| = m 2^exponent
    // Infinity and NaN give NaN. Small numbers, in other lanes of a vector with large ones, give a result that is not
    // used.
    if (exponent < -6 || exponent > 104) {
      rest = x - x;
      n = 0;
      return;
    }
    const int32_t first = exponent + 30, word = first / 32, shift = first % 32;
    const auto bits_of = [&](int i) {  // word number i of the 96 bits
      const uint64_t pair = (static_cast<uint64_t>(kTwoOverPi[word + i]) << 32) | kTwoOverPi[word + i + 1];
      return static_cast<uint32_t>((pair << shift) >> 32);
    };
    // 2^62 x 2 / pi, modulo 2^64
    uint64_t turns = (static_cast<uint64_t>(m * bits_of(0)) << 32) + static_cast<uint64_t>(m) * bits_of(1) +
                     ((static_cast<uint64_t>(m) * bits_of(2)) >> 32);
    if (b < 0) turns = ~turns + 1;
    n = static_cast<int32_t>((turns + (uint64_t{1} << 61)) >> 62);
    const auto fraction = static_cast<int64_t>(turns - (static_cast<uint64_t>(n) << 62));
    rest = static_cast<float>(static_cast<double>(fraction) * kHalfPiOver62);
  }
};

template <class V>
ENGINE_INLINE Angle<V> reduce_angle(V x) {
  constexpr float kTwoOverPi = 0.636619772f;
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const V t = fma(x, broadcast<V>(kTwoOverPi), broadcast<V>(kRounder));
  const V n = t - kRounder;
  Angle<V> angle;
  angle.n = bits(t) - bits(broadcast<V>(kRounder));
  const V first = fma(-n, broadcast<V>(kHalfPi), x);  // exact
  // The sum of `first` and -n kHalfPiMiddle, with the rounding errors of both the product and the sum.
  const V second = -n * kHalfPiMiddle;
  const V error_of_product = fma(-n, broadcast<V>(kHalfPiMiddle), -second);
  angle.high = first + second;
  const V added = angle.high - first;
  const V error_of_sum = (first - (angle.high - added)) + (second - added);
  angle.low = fma(-n, broadcast<V>(kHalfPiLow), error_of_sum + error_of_product);
  const BitsOf<V> large = Number<V>::mask(abs(x) >= kLargeAngle);
  if (Number<V>::any(large)) {
    const V rest = Number<V>::each(x, [](float f) { return LargeAngle(f).rest; });
    const V turns = Number<V>::each(x, [](float f) { return static_cast<float>(LargeAngle(f).n & 3); });
    angle.high = choose(large, rest, angle.high);
    angle.low = choose(large, V{}, angle.low);
    angle.n = (angle.n & ~large) | ((bits(turns + kRounder) - bits(broadcast<V>(kRounder))) & large);
  }
  return angle;
}

/// sin(high + low + quarters pi / 2): the sine or cosine of high + low, with a sign, depending on `quarters` modulo 4
template <class V>
ENGINE_INLINE V sine_of(const Angle<V>& angle, BitsOf<V> quarters) {
  constexpr float kSine[] = {2.7179301e-06f, -0.000198392925f, 0.00833332911f, -0.166666672f};
  constexpr float kCosine[] = {2.44312614e-05f, -0.00138873002f, 0.0416666456f};
  const V r = angle.high, u = r * r, half = u * 0.5f;
  const V sine = r + fma(r * u, polynomial(u, kSine), fma(-half, angle.low, angle.low));
  const V nearly = 1.0f - half;
  const V cosine = nearly + (((1.0f - nearly) - half) + fma(u * u, polynomial(u, kCosine), -(r * angle.low)));
  const V value = (quarters & 1) != 0 ? cosine : sine;
  return from_bits<V>(bits(value) ^ Number<V>::shift_left(quarters & 2, 30));
}

template <class V>
ENGINE_FMA_INLINE V sin(V x) {
  const Angle<V> angle = reduce_angle(x);
  return x == 0.0f ? x : sine_of(angle, angle.n);
}

template <class V>
ENGINE_FMA_INLINE V cos(V x) {
  const Angle<V> angle = reduce_angle(x);
  return sine_of(angle, angle.n + 1);
}

/// The angle of the vector (x, y), in [-pi, pi]. It is computed for the acute angle between the vector and its nearest
/// axis, and then mirrored.
template <class V>
ENGINE_FMA_INLINE V atan2(V y, V x) {
  constexpr float kA[] = {-0.00179364532f, 0.0109147206f, -0.0311780814f, 0.0579578541f, -0.0840346739f,
                          0.109521925f,    -0.142642438f, 0.199985489f,   -0.333332986f};
  const V a = abs(x), b = abs(y);
  const auto steep = b > a;
  const V small = steep ? a : b, large = steep ? b : a;
  const V q = large == 0.0f ? small : ((a == kInfinity) & (b == kInfinity)) ? broadcast<V>(1.0f) : small / large;
  const V u = q * q;
  const V flat = fma(q * u, polynomial(u, kA), q);
  const V acute = steep ? kHalfPi - (flat - kHalfPiMiddle) : flat;
  const V angle = bits(x) < 0 ? kPi - (acute - kPiLow) : acute;
  return copy_sign(angle, y);
}

}  // namespace
}  // namespace engine::formulas
