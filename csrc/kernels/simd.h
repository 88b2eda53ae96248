// The vector types of one instruction set, and the operations that the compiler's vector operators do not express or
// compile badly. ENGINE_ISA and ENGINE_VECTOR_BYTES come from the build.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#include "formulas/number.h"
#include "kernels/layout.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace engine::ENGINE_ISA {
namespace {

constexpr int kWidth = ENGINE_VECTOR_BYTES / 4;
constexpr int kVectorsPerLine = static_cast<int>(kLineFloats) / kWidth;  // vectors per cache line

typedef float vf __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
typedef uint32_t vu __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
typedef uint64_t vul __attribute__((vector_size(ENGINE_VECTOR_BYTES)));

ENGINE_INLINE vf load(const float* p) {
  vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

ENGINE_INLINE void store(float* p, vf v) { std::memcpy(p, &v, sizeof v); }

/// `s - vf{}` keeps the sign of zero and lets both compilers emit a broadcast from memory (`vf{} + s` spills).
ENGINE_INLINE vf broadcast(float s) { return s - vf{}; }

ENGINE_INLINE vf from_bits(vi v) { return reinterpret_cast<vf>(v); }

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr int kUnrolled = 4;  // the factor by which loops of independent iterations are unrolled
#else
// Without the instruction, fma is an emulation of many instructions, and unrolling gains nothing.
constexpr int kUnrolled = 1;
#endif

}  // namespace
}  // namespace engine::ENGINE_ISA

namespace engine::formulas {
namespace {

/// The formulas' number type on this instruction set: a vector, whose lanes are computed alike.
template <>
struct Number<ENGINE_ISA::vf> {
  using vf = ENGINE_ISA::vf;
  using Bits = ENGINE_ISA::vi;
  using Words = ENGINE_ISA::vu;

  static ENGINE_INLINE vf broadcast(float s) { return ENGINE_ISA::broadcast(s); }
  static ENGINE_INLINE Bits bits(vf x) { return reinterpret_cast<Bits>(x); }
  static ENGINE_INLINE vf from_bits(Bits b) { return reinterpret_cast<vf>(b); }
  static ENGINE_INLINE vf from_integer(Bits n) { return __builtin_convertvector(n, vf); }
  static ENGINE_INLINE vf from_word(Words w) { return __builtin_convertvector(reinterpret_cast<Bits>(w), vf); }
  static ENGINE_INLINE Bits subtract(Bits a, int32_t b) { return a - b; }
  static ENGINE_INLINE Bits shift_left(Bits a, int count) { return a << count; }
  static ENGINE_INLINE Bits mask(Bits condition) { return condition; }
  static ENGINE_INLINE bool any(Bits mask) {
    typedef int64_t Words64 __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
    const auto words = reinterpret_cast<Words64>(mask);
    int64_t all = 0;
    for (int i = 0; i < ENGINE_ISA::kWidth / 2; ++i) all |= words[i];
    return all != 0;
  }
  template <class F>
  static ENGINE_INLINE vf each(vf x, F&& f) {
    for (int i = 0; i < ENGINE_ISA::kWidth; ++i) x[i] = f(x[i]);
    return x;
  }

  /// By intrinsics: GCC does not vectorize some loops of multiply-adds over lanes, if a factor is negated or loaded.
  static ENGINE_FMA_INLINE vf fma(vf a, vf b, vf c) {
#if ENGINE_VECTOR_BYTES == 64
    return reinterpret_cast<vf>(
        _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif ENGINE_VECTOR_BYTES == 32
    return reinterpret_cast<vf>(
        _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#else
    vf r;
    for (int i = 0; i < ENGINE_ISA::kWidth; ++i) r[i] = fma_of_floats(a[i], b[i], c[i]);
    return r;
#endif
  }

  static ENGINE_INLINE vf sqrt(vf a) {
    vf r;
    for (int i = 0; i < ENGINE_ISA::kWidth; ++i) r[i] = __builtin_sqrtf(a[i]);
    return r;
  }
};

}  // namespace
}  // namespace engine::formulas

namespace engine::ENGINE_ISA {
namespace {

using namespace formulas;

/// Bit i is set where lane i of a comparison's result is.
ENGINE_INLINE uint32_t lane_bits(vi mask) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  return static_cast<uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#else
  uint32_t all = 0;
  for (int i = 0; i < kWidth; ++i) all |= static_cast<uint32_t>(mask[i] & 1) << i;
  return all;
#endif
}

/// Bit i is set where lane i is not zero.
ENGINE_INLINE uint32_t nonzero_lanes(vi v) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(v), reinterpret_cast<__m512i>(v));
#else
  return lane_bits(v != 0);
#endif
}
ENGINE_INLINE uint32_t nonzero_lanes(vf v) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(v), _mm512_setzero_ps(), _CMP_NEQ_UQ);
#else
  return lane_bits(v != 0.0f);
#endif
}

/// Bit i is set where p[i] is not zero, for the elements of one vector.
ENGINE_INLINE uint32_t vector_bits(const float* p) { return nonzero_lanes(load(p)); }
ENGINE_INLINE uint64_t vector_bits(const uint8_t* p) {
  typedef int8_t vb __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
  vb v;
  std::memcpy(&v, p, sizeof v);
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  return _mm512_test_epi8_mask(reinterpret_cast<__m512i>(v), reinterpret_cast<__m512i>(v));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  return static_cast<uint32_t>(_mm256_movemask_epi8(reinterpret_cast<__m256i>(v != 0)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_epi8(reinterpret_cast<__m128i>(v != 0)));
#else
  uint64_t all = 0;
  for (int i = 0; i < ENGINE_VECTOR_BYTES; ++i) all |= static_cast<uint64_t>(v[i] != 0) << i;
  return all;
#endif
}

/// kWidth elements as floats.
template <class T>
ENGINE_INLINE vf load_as_floats(const T* p) {
  typedef T Group __attribute__((vector_size(kWidth * sizeof(T))));
  Group group;
  std::memcpy(&group, p, sizeof group);
  return __builtin_convertvector(group, vf);
}

/// kWidth bytes as integers. GCC converts the generic vector element by element, 15 times as slowly.
ENGINE_INLINE vi load_as_integers(const uint8_t* p) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  const vi v = reinterpret_cast<vi>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  const vi v = reinterpret_cast<vi>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  vi v;
  for (int i = 0; i < kWidth; ++i) v[i] = p[i];
#endif
  return v;
}

ENGINE_INLINE vf load_as_floats(const uint8_t* p) { return __builtin_convertvector(load_as_integers(p), vf); }

/// The low halves of 64-bit lanes times m. GCC has a full multiplication of 64 bits for the generic product.
ENGINE_INLINE vul multiply_low(vul a, uint32_t m) {
  const vul b = uint64_t{m} - vul{};
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  return reinterpret_cast<vul>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  return reinterpret_cast<vul>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<vul>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a & 0xffffffffu) * b;
#endif
}

/// first, first + 1, ...
ENGINE_INLINE vi iota(int32_t first) {
  vi v;
  for (int i = 0; i < kWidth; ++i)
    v[i] = i;  // a constant vector; if it began with `first`, GCC would insert lane by lane
  return v + first;
}

/// Replaces the lanes of v, the vector at column j, that are padding (column n or later) by those of `fill`.
ENGINE_INLINE vf masked(vf v, int64_t j, int64_t n, vf fill) {
  return iota(static_cast<int32_t>(j)) < static_cast<int32_t>(n) - vi{} ? v : fill;
}

#if defined(__SSE2__) && ENGINE_VECTOR_BYTES > 16
constexpr bool kMaskedLoads = true;  // whether there are loads and stores of a part of a vector
#else
constexpr bool kMaskedLoads = false;
#endif

/// Loads the first `count` lanes, and reads nothing behind them; the other lanes are zero. Without masked loads this is
/// a call of memcpy, as the length is not constant.
ENGINE_INLINE vf load_partial(const float* p, int64_t count) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  return reinterpret_cast<vf>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  const vi mask = iota(0) < static_cast<int32_t>(count) - vi{};
  return reinterpret_cast<vf>(_mm256_maskload_ps(p, reinterpret_cast<__m256i>(mask)));
#else
  vf v{};
  std::memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
  return v;
#endif
}

/// Stores the first `count` lanes.
ENGINE_INLINE void store_partial(float* p, vf v, int64_t count) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), reinterpret_cast<__m512>(v));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  const vi mask = iota(0) < static_cast<int32_t>(count) - vi{};
  _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(mask), reinterpret_cast<__m256>(v));
#else
  std::memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
#endif
}

/// A shuffle of two vectors with constant indices, for which GCC and Clang have different names.
#ifdef __clang__
#define ENGINE_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define ENGINE_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, vi{__VA_ARGS__})
#endif

/// Lane i of the result is lane (i + Step) mod kWidth of v.
template <int Step, int... Lanes>
ENGINE_INLINE vf rotated(vf v, std::integer_sequence<int, Lanes...>) {
  return ENGINE_SHUFFLE(v, v, ((Lanes + Step) % kWidth)...);
}

/// Reduces the lanes of v in a binary tree: combines lanes kWidth / 2 apart, then kWidth / 4 apart, and so on.
template <int Step = kWidth / 2, class F>
ENGINE_INLINE float fold(vf v, F&& combine) {
  v = combine(v, rotated<Step>(v, std::make_integer_sequence<int, kWidth>{}));
  if constexpr (Step > 1) {
    return fold<Step / 2>(v, combine);
  } else {
    return v[0];
  }
}

/// Lane l of the result is lane Index::at(l) of the concatenation of a and b.
template <class Index, int... Lanes>
ENGINE_INLINE vf mix(vf a, vf b, std::integer_sequence<int, Lanes...>) {
  return ENGINE_SHUFFLE(a, b, Index::at(Lanes)...);
}
template <class Index>
ENGINE_INLINE vf mix(vf a, vf b) {
  return mix<Index>(a, b, std::make_integer_sequence<int, kWidth>{});
}

/// A sum over a row, in the same order on every instruction set: element j is added to partial sum j mod kLineFloats,
/// and the kLineFloats partial sums are added in a fixed binary tree.
struct LaneSum {
  vf part[kVectorsPerLine] = {};

  ENGINE_INLINE float total() const {
    vf sum[kVectorsPerLine];
#pragma GCC unroll kUnrolled
    for (int p = 0; p < kVectorsPerLine; ++p) sum[p] = part[p];
#pragma GCC unroll kUnrolled
    for (int half = kVectorsPerLine / 2; half > 0; half /= 2) {
#pragma GCC unroll kUnrolled
      for (int p = 0; p < half; ++p) sum[p] = sum[p] + sum[p + half];
    }
    return fold(sum[0], [](vf a, vf b) { return a + b; });
  }
};

/// Calls `f(j, part)` for every vector of a row of n columns; `part` indexes LaneSum::part.
template <class F>
ENGINE_INLINE void for_vectors(int64_t n, F&& f) {
  for (int64_t j = 0; j < n; j += kLineFloats) {
#pragma GCC unroll kUnrolled
    for (int p = 0; p < kVectorsPerLine; ++p) f(j + p * kWidth, p);
  }
}

/// The sum over a row of n columns, in the order of LaneSum: add_term(j, sum) adds the terms of the vector at column j.
template <class F>
ENGINE_INLINE float sum_of_row(int64_t n, F&& add_term) {
  LaneSum lanes;
  for_vectors(n, [&](int64_t j, int part) { lanes.part[part] = add_term(j, lanes.part[part]); });
  return lanes.total();
}

/// The sum of value(j) over a row of n columns, in the order of LaneSum. Padding counts as 0.
template <class F>
ENGINE_INLINE float row_sum(int64_t n, F&& value) {
  return sum_of_row(n, [&](int64_t j, vf sum) { return sum + masked(value(j), j, n, vf{}); });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
