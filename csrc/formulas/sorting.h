// The order of floats when they are sorted: integers that are in the same order, by which the CPU and a card compare.
#pragma once
#include "formulas/number.h"

namespace engine::formulas {
namespace {

/// NaN is behind all other numbers, and -0 before 0. By integers alone, as denormals are numbers of their own here.
template <class V>
ENGINE_INLINE BitsOf<V> sorting_key(V x) {
  const BitsOf<V> magnitude = bits(x) & 0x7fffffff;
  const BitsOf<V> negative = Number<V>::mask(bits(x) < 0), nan = Number<V>::mask(magnitude > 0x7f800000);
  return ((bits(x) ^ (negative & 0x7fffffff)) & ~nan) | (nan & 0x7fffffff);
}

/// The key of numbers whose places are wanted: -0 is as large as 0, so that they keep their order.
template <class V>
ENGINE_INLINE BitsOf<V> key_of_place(V x) {
  return sorting_key(from_bits<V>(bits(x) & Number<V>::mask((bits(x) & 0x7fffffff) != 0)));
}

template <class V>
ENGINE_INLINE V number_of_key(BitsOf<V> key) {
  return from_bits<V>(key ^ (Number<V>::mask(key < 0) & 0x7fffffff));
}

}  // namespace
}  // namespace engine::formulas
