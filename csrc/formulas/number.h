// What a formula needs of the type V of its numbers: a plain float, or a vector of floats whose lanes are computed
// alike. The formulas use the operators + - * / < <= > >= == & | and `condition ? a : b`, which compilers apply to
// floats and lane by lane to their vector types. Everything else comes from Number<V>, which each device
// specializes for its own type; the one for float is below.
//
// All names here have internal linkage. Objects that are compiled for different instruction sets include this file,
// and the linker must not take one's function for another's.
#pragma once
#include <cstdint>

// What nvcc has to be told of a function that threads of a GPU call, too.
#if defined(__CUDACC__)
#define ENGINE_DEVICE __host__ __device__
#else
#define ENGINE_DEVICE
#endif

// Unrolls the loop that follows so many times.
#define ENGINE_PRAGMA(text) _Pragma(#text)
#if defined(__CUDACC__)
#define ENGINE_UNROLL(times) ENGINE_PRAGMA(unroll times)
#else
#define ENGINE_UNROLL(times) ENGINE_PRAGMA(GCC unroll times)
#endif

#define ENGINE_INLINE ENGINE_DEVICE inline __attribute__((always_inline))

// ENGINE_FMA_INLINE marks what is made of many multiply-adds. Without the instruction these are emulated; inlined
// everywhere, the emulation would make up 2 MB of code.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDACC__)
#define ENGINE_FMA_INLINE ENGINE_INLINE
#else
#define ENGINE_FMA_INLINE inline __attribute__((noinline))
#endif

namespace engine::formulas {
namespace {

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDA_ARCH__)
ENGINE_INLINE float fma_of_floats(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
/// Correctly rounded a * b + c without the instruction. The product is exact in double; the double sum is off by at
/// most half an ulp, which only matters if it lies exactly between two floats (low 29 bits 0x10000000): then the exact
/// remainder, by Knuth's TwoSum, says which way to go.
ENGINE_INLINE float fma_of_floats(float a, float b, float c) {
  const double p = static_cast<double>(a) * static_cast<double>(b);
  const double d = static_cast<double>(c);
  double sum = p + d;
  uint64_t u;
  __builtin_memcpy(&u, &sum, sizeof u);
  if (__builtin_expect((u & 0x1fffffffu) == 0x10000000u, 0)) {
    const double t = sum - p;
    const double rest = (p - (sum - t)) + (d - t);
    if (rest != 0.0) {
      u += (rest > 0.0) == (sum > 0.0) ? 1u : ~uint64_t{0};
      __builtin_memcpy(&sum, &u, sizeof u);
    }
  }
  return static_cast<float>(sum);
}
#endif

template <class V>
struct Number;

template <>
struct Number<float> {
  using Bits = int32_t;    // an integer for each float: its bits, or all ones where a condition holds
  using Words = uint32_t;  // a random word for each float

  static ENGINE_INLINE float broadcast(float s) { return s; }
  static ENGINE_INLINE Bits bits(float x) {
    Bits b;
    __builtin_memcpy(&b, &x, sizeof b);
    return b;
  }
  static ENGINE_INLINE float from_bits(Bits b) {
    float x;
    __builtin_memcpy(&x, &b, sizeof x);
    return x;
  }
  static ENGINE_INLINE float from_integer(Bits n) { return static_cast<float>(n); }
  /// Of a word below 2^31.
  static ENGINE_INLINE float from_word(Words w) { return static_cast<float>(static_cast<Bits>(w)); }
  /// a - b and a 2^count, of which the lowest 32 bits are kept.
  static ENGINE_INLINE Bits subtract(Bits a, int32_t b) {
    return static_cast<Bits>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
  }
  static ENGINE_INLINE Bits shift_left(Bits a, int count) {
    return static_cast<Bits>(static_cast<uint32_t>(a) << count);
  }
  static ENGINE_INLINE Bits mask(bool condition) { return condition ? -1 : 0; }
  /// Whether the mask has ones anywhere, and f of each float: for what only few numbers need.
  static ENGINE_INLINE bool any(Bits mask) { return mask != 0; }
  template <class F>
  static ENGINE_INLINE float each(float x, F&& f) {
    return f(x);
  }
  static ENGINE_FMA_INLINE float fma(float a, float b, float c) { return fma_of_floats(a, b, c); }
  static ENGINE_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }
};

template <class V>
using BitsOf = typename Number<V>::Bits;
template <class V>
using WordsOf = typename Number<V>::Words;

/// V with the same float in all lanes.
template <class V>
ENGINE_INLINE V broadcast(float s) {
  return Number<V>::broadcast(s);
}

/// The only multiply-add of the engine: a b + c with one rounding, on every instruction set.
template <class V>
ENGINE_INLINE V fma(V a, V b, V c) {
  return Number<V>::fma(a, b, c);
}

/// Correctly rounded.
template <class V>
ENGINE_INLINE V sqrt(V x) {
  return Number<V>::sqrt(x);
}

/// `condition ? a : b` as a function, which a number type that is a class can have, too.
template <class Condition, class V>
ENGINE_INLINE V select(Condition condition, V a, V b) {
  return condition ? a : b;
}

/// The larger and the smaller of x and a constant. A NaN stays visible.
template <class V>
ENGINE_INLINE V at_least(V x, float least) {
  return select(x < least, broadcast<V>(least), x);
}
template <class V>
ENGINE_INLINE V at_most(V x, float most) {
  return select(x > most, broadcast<V>(most), x);
}

template <class V>
ENGINE_INLINE BitsOf<V> bits(V x) {
  return Number<V>::bits(x);
}
template <class V>
ENGINE_INLINE V from_bits(BitsOf<V> b) {
  return Number<V>::from_bits(b);
}

template <class V>
ENGINE_INLINE V abs(V x) {
  return from_bits<V>(bits(x) & 0x7fffffff);
}

/// x within [low, high]. A NaN stays visible, and so does a denormal: by masks, as GCC 16 makes instructions of two
/// choices that take the smaller or larger number, which flush it, on some instruction sets but not on others.
template <class V>
ENGINE_INLINE V clamp(V x, float low, float high) {
  const BitsOf<V> below = Number<V>::mask(x < low);
  const BitsOf<V> above = Number<V>::mask(x > high);
  return from_bits<V>((bits(x) & ~(below | above)) | (bits(broadcast<V>(low)) & below) |
                      (bits(broadcast<V>(high)) & above));
}

/// The same, whose derivative is 0 at both ends; that of `clamp` is 1 there.
template <class V>
ENGINE_INLINE V clamp_open(V x, float low, float high) {
  return clamp(x, low, high);
}

/// max(x, 0), whose derivative at 0 is 0
template <class V>
ENGINE_INLINE V positive_part(V x) {
  return select(x < 0.0f, V{}, x);
}

constexpr float kInfinity = __builtin_inff();

}  // namespace
}  // namespace engine::formulas
