// How reductions combine numbers, two at a time.
#pragma once
#include "formulas/kinds.h"
#include "formulas/rounding.h"

namespace engine::formulas {
namespace {

/// `kNeutral` is where a reduction starts: combined with a number, it gives that number.
struct Sum {
  static constexpr float kNeutral = 0.0f;
  template <class V>
  static ENGINE_INLINE V combine(V a, V b) {
    return a + b;
  }
};
struct Maximum {
  static constexpr float kNeutral = -kInfinity;
  template <class V>
  static ENGINE_INLINE V combine(V a, V b) {
    return maximum(a, b);
  }
};
struct Minimum {
  static constexpr float kNeutral = kInfinity;
  template <class V>
  static ENGINE_INLINE V combine(V a, V b) {
    return minimum(a, b);
  }
};
struct Product {
  static constexpr float kNeutral = 1.0f;
  template <class V>
  static ENGINE_INLINE V combine(V a, V b) {
    return a * b;
  }
};

/// Those that combine numbers, in the order of `Reduction`.
using Reductions = Types<Sum, Maximum, Minimum, Product>;

ENGINE_INLINE float neutral(Reduction kind) {
  switch (kind) {
    case Reduction::kMaximum:
      return Maximum::kNeutral;
    case Reduction::kMinimum:
      return Minimum::kNeutral;
    case Reduction::kProduct:
      return Product::kNeutral;
    default:
      return Sum::kNeutral;
  }
}

ENGINE_INLINE float combine(Reduction kind, float a, float b) {
  switch (kind) {
    case Reduction::kMaximum:
      return Maximum::combine(a, b);
    case Reduction::kMinimum:
      return Minimum::combine(a, b);
    case Reduction::kProduct:
      return Product::combine(a, b);
    default:
      return Sum::combine(a, b);
  }
}

}  // namespace
}  // namespace engine::formulas
