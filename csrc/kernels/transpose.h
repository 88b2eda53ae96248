// Transposes squares of kWidth x kWidth floats, and groups of four columns, in registers.
#pragma once
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

/// A shuffle within each 128 bits: takes their lower or upper half from a and b, `Unit` lanes from each in turn.
template <int Unit, bool Upper>
struct Interleaved {
  static constexpr int at(int l) {
    const int w = l % 4, within = Unit == 1 ? w / 2 : w % 2;
    return (w / Unit % 2 != 0 ? kWidth : 0) + l - w + (Upper ? 2 : 0) + within;
  }
};

/// A shuffle of whole 128 bits: takes those number First and Second of a (of 256-bit vectors First alone), then of b.
template <int First, int Second = First>
struct Quarters {
  static constexpr int at(int l) {
    const int half = kWidth / 2;
    // The remainder keeps indices valid for vectors too narrow for this shuffle: Clang checks them nevertheless.
    return ((l < half ? 0 : kWidth) + (l % half < 4 ? First : Second) * 4 + l % 4) % (2 * kWidth);
  }
};

/// Transposes the 4 x 4 squares that the rows have in each 128 bits.
ENGINE_INLINE void transpose_fours(vf* rows) {
  const vf a = mix<Interleaved<1, false>>(rows[0], rows[1]), b = mix<Interleaved<1, true>>(rows[0], rows[1]);
  const vf c = mix<Interleaved<1, false>>(rows[2], rows[3]), d = mix<Interleaved<1, true>>(rows[2], rows[3]);
  rows[0] = mix<Interleaved<2, false>>(a, c);
  rows[1] = mix<Interleaved<2, true>>(a, c);
  rows[2] = mix<Interleaved<2, false>>(b, d);
  rows[3] = mix<Interleaved<2, true>>(b, d);
}

/// Loads four floats from each of `at(0)`, `at(4)` and so on.
template <class F>
ENGINE_INLINE vf load_fours(F&& at) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  __m512 fours = _mm512_castps128_ps512(_mm_loadu_ps(at(0)));
  fours = _mm512_insertf32x4(fours, _mm_loadu_ps(at(4)), 1);
  fours = _mm512_insertf32x4(fours, _mm_loadu_ps(at(8)), 2);
  return reinterpret_cast<vf>(_mm512_insertf32x4(fours, _mm_loadu_ps(at(12)), 3));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  const __m256 fours = _mm256_castps128_ps256(_mm_loadu_ps(at(0)));
  return reinterpret_cast<vf>(_mm256_insertf128_ps(fours, _mm_loadu_ps(at(4)), 1));
#else
  return load(at(0));
#endif
}

/// Loads four columns of kWidth rows; row i begins at `row(i)`. Loads bring the 128 bits to their places, which saves
/// half of the shuffles that `transpose_square` needs.
template <class F>
ENGINE_INLINE void load_four_columns(vf* columns, F&& row) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) columns[i] = load_fours([&](int first) { return row(first + i); });
  transpose_fours(columns);
}

/// Transposes the 4 x 4 squares within 128 bits first, where shuffles are fastest, then exchanges whole 128 bits.
ENGINE_INLINE void transpose_square(vf (&rows)[kWidth]) {
  vf t[kWidth];
  std::memcpy(t, rows, sizeof t);
#pragma GCC unroll 4
  for (int i = 0; i < kWidth; i += 4) transpose_fours(t + i);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    if constexpr (kWidth == 16) {
      const vf a = mix<Quarters<0, 1>>(t[i], t[i + 4]), b = mix<Quarters<0, 1>>(t[i + 8], t[i + 12]);
      const vf c = mix<Quarters<2, 3>>(t[i], t[i + 4]), d = mix<Quarters<2, 3>>(t[i + 8], t[i + 12]);
      rows[i] = mix<Quarters<0, 2>>(a, b);
      rows[i + 4] = mix<Quarters<1, 3>>(a, b);
      rows[i + 8] = mix<Quarters<0, 2>>(c, d);
      rows[i + 12] = mix<Quarters<1, 3>>(c, d);
    } else if constexpr (kWidth == 8) {
      rows[i] = mix<Quarters<0>>(t[i], t[i + 4]);
      rows[i + 4] = mix<Quarters<1>>(t[i], t[i + 4]);
    } else {
      rows[i] = t[i];
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
