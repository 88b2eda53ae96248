// The functions of the instructions of a map, as map_operations.h names them.
#pragma once
#include "formulas/map_operations.h"
#include "formulas/power.h"
#include "formulas/trigonometry.h"

namespace engine::formulas {
namespace {

/// 1 where the mask has ones, else 0
template <class V>
ENGINE_INLINE V one_or_zero(BitsOf<V> mask) {
  return from_bits<V>(bits(broadcast<V>(1.0f)) & mask);
}

/// The gradient of maximum(a, b) by a, where that by the maximum is dy. Of two equal numbers each gets half.
template <class V>
ENGINE_INLINE V maximum_gradient(V a, V b, V dy) {
  const V not_below = choose(Number<V>::mask(a == b), dy * 0.5f, dy);
  return choose(Number<V>::mask(a >= b), not_below, V{});
}

/// a & b of integers between -2^22 and 2^22. Such a number is the difference between the bits of kShift + a and those
/// of kShift, since neighbouring floats beside kShift differ by 1.
template <class V>
ENGINE_INLINE V common_bits(V a, V b) {
  constexpr float kShift = 12582912.0f;         // 3 * 2^22
  constexpr int32_t kBitsOfShift = 0x4b400000;  // of this float
  const BitsOf<V> one = Number<V>::subtract(bits(a + kShift), kBitsOfShift);
  const BitsOf<V> other = Number<V>::subtract(bits(b + kShift), kBitsOfShift);
  return Number<V>::from_integer(one & other);
}

/// a & b of integers of up to 2^34, as far as a float can hold the result.
template <class V>
ENGINE_INLINE V bitwise_and(V a, V b) {
  constexpr float kRadix = 4096.0f;
  const V a_high = floor(a / kRadix), b_high = floor(b / kRadix);
  return fma(common_bits(a_high, b_high), broadcast<V>(kRadix), common_bits(a - a_high * kRadix, b - b_high * kRadix));
}

/// The result of an instruction that has operands.
template <MapOp op, class V>
ENGINE_INLINE V map_value(V a, V b, V c) {
  if constexpr (op == MapOp::kNegate) return -a;
  if constexpr (op == MapOp::kAbs) return abs(a);
  if constexpr (op == MapOp::kSign) return signum(a);
  if constexpr (op == MapOp::kExp) return exp(a);
  if constexpr (op == MapOp::kExpm1) return expm1(a);
  if constexpr (op == MapOp::kLog) return log(a);
  if constexpr (op == MapOp::kLog1p) return log1p(a);
  if constexpr (op == MapOp::kSqrt) return sqrt(a);
  if constexpr (op == MapOp::kSin) return sin(a);
  if constexpr (op == MapOp::kCos) return cos(a);
  if constexpr (op == MapOp::kTanh) return tanh(a);
  if constexpr (op == MapOp::kSigmoid) return sigmoid(a);
  if constexpr (op == MapOp::kSoftplus) return softplus(a);
  if constexpr (op == MapOp::kGaussian) return gaussian(a);
  if constexpr (op == MapOp::kErfinv) return erfinv(a);
  if constexpr (op == MapOp::kFloor) return floor(a);
  if constexpr (op == MapOp::kRound) return round_to_even(a);
  if constexpr (op == MapOp::kAdd) return a + b;
  if constexpr (op == MapOp::kSubtract) return a - b;
  if constexpr (op == MapOp::kMultiply) return a * b;
  if constexpr (op == MapOp::kDivide) return a / b;
  if constexpr (op == MapOp::kPower) return pow(a, b);
  if constexpr (op == MapOp::kErf) return erf(a, b);
  if constexpr (op == MapOp::kRemainder) return remainder(a, b);
  if constexpr (op == MapOp::kMinimum) return minimum(a, b);
  if constexpr (op == MapOp::kMaximum) return maximum(a, b);
  if constexpr (op == MapOp::kAtan2) return atan2(a, b);
  if constexpr (op == MapOp::kEqual) return one_or_zero<V>(Number<V>::mask(a == b));
  if constexpr (op == MapOp::kLess) return one_or_zero<V>(Number<V>::mask(a < b));
  if constexpr (op == MapOp::kLessEqual) return one_or_zero<V>(Number<V>::mask(a <= b));
  if constexpr (op == MapOp::kBitwiseAnd) return bitwise_and(a, b);
  if constexpr (op == MapOp::kSelect) return choose(Number<V>::mask(a != 0.0f), b, c);
  if constexpr (op == MapOp::kMultiplyAdd) return fma(a, b, c);
  if constexpr (op == MapOp::kMaximumGradient) return maximum_gradient(a, b, c);
  return c;
}

}  // namespace
}  // namespace engine::formulas
