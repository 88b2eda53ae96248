// The one inner kernel of every matrix product: a tile of Rows x Vectors accumulators in registers.
#pragma once
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

// Register tiles. Enough accumulators to hide the FMA latency (>= 8 chains), few enough to leave registers for
// a row of B and a broadcast of A. Measured per core on Zen 5: 8x2 zmm 267 GFLOP/s of 270, 6x4 262, 16x1 233,
// 4x4 213; AVX2's 16 registers hold 6x2 (134-139 of 135).
#if ENGINE_VECTOR_BYTES == 64
constexpr int kTileRows = 8, kTileVectors = 2;
#elif ENGINE_VECTOR_BYTES == 32
constexpr int kTileRows = 6, kTileVectors = 2;
#else
constexpr int kTileRows = 4, kTileVectors = 2;
#endif
/// One row alone has only its columns to fill the FMA pipes with.
constexpr int kSingleRowVectors = 8;

/// Length of one chain of multiply-adds; chains are added in order. Part of the numerical contract: the bits
/// of a product depend on it. 256 keeps the error of long sums small (1.8e-7 instead of 2.6e-6 at K = 60,000
/// of one sign) and costs at most 3 %.
constexpr int64_t kChain = 256;

// How a tile reads its left operand A: `cursor(p)` stands at summation index p, and `next()` goes on to p + 1, up to
// `run(p, end)`. Its `here()` are the elements of all rows there: `at(i, v)` is that of row i, for vector v of b.

/// The same address, of which the compiler doesn't know that.
template <class T>
ENGINE_INLINE T* aside(T* p) {
  __asm__("" : "+r"(p));
  return p;
}

/// Elements side by side. A number in a register is multiplied by two vectors in three instructions, one of which loads
/// it; two loads that are part of the multiplications take two, where there are such (AVX-512), and a compiler makes
/// them of elements that it takes for different ones. All but every `Kept`-th are read so, or the loads would take
/// longer than the multiplications. Where a core's two threads of hardware share its decoder, that is a fifth of the
/// time.
template <int Kept>
struct SideBySide {
  const float *a, *again;
  explicit ENGINE_INLINE SideBySide(const float* at) : a(at), again(aside(at)) {}
  ENGINE_INLINE float at(int i, int v) const {
    const bool from_memory = ENGINE_VECTOR_BYTES == 64 && v % 2 != 0 && i % Kept != 0;
    return (from_memory ? again : a)[i];
  }
};

/// Rows a fixed distance apart, one element after the other.
struct RowCursor {
  const float* a;
  int64_t ld;
  ENGINE_INLINE const RowCursor& here() const { return *this; }
  ENGINE_INLINE float at(int64_t i, int) const { return a[i * ld]; }
  ENGINE_INLINE void next() { ++a; }
};

/// Rows that are neighbours in memory, so that successive elements are `ld` apart.
struct ColumnCursor {
  const float* a;
  int64_t ld;
  ENGINE_INLINE SideBySide<2> here() const { return SideBySide<2>(a); }
  ENGINE_INLINE void next() { a += ld; }
};

/// A as it lies, row-major.
struct ByRows {
  const float* a;
  int64_t ld;
  ENGINE_INLINE RowCursor cursor(int64_t p) const { return {a + p, ld}; }
  ENGINE_INLINE int64_t run(int64_t, int64_t end) const { return end; }
};

/// A transposed: its rows are the columns of a row-major matrix.
struct ByColumns {
  const float* a;
  int64_t ld;
  ENGINE_INLINE ByColumns from(int64_t row) const { return {a + row, ld}; }
  ENGINE_INLINE ColumnCursor cursor(int64_t p) const { return {a + p * ld, ld}; }
  ENGINE_INLINE int64_t run(int64_t, int64_t end) const { return end; }
};

/// Rows anywhere.
template <int Rows>
struct ByRowPointers {
  struct Cursor {
    const float* a[Rows];
    int64_t p;
    ENGINE_INLINE const Cursor& here() const { return *this; }
    ENGINE_INLINE float at(int64_t i, int) const { return a[i][p]; }
    ENGINE_INLINE void next() { ++p; }
  };
  const float* const* rows;
  ENGINE_INLINE Cursor cursor(int64_t p) const {
    Cursor cursor{{}, p};
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) cursor.a[i] = rows[i];
    return cursor;
  }
  ENGINE_INLINE int64_t run(int64_t, int64_t end) const { return end; }
};

/// A transposed: its rows are columns, from `first` on, of rows anywhere.
struct ByColumnPointers {
  struct Cursor {
    const float* const* row;
    int64_t first;
    // By small distances from a pointer, as the compiler would have a register for each.
    ENGINE_INLINE SideBySide<2> here() const { return SideBySide<2>(aside(*row + first)); }
    ENGINE_INLINE void next() { ++row; }
  };
  const float* const* rows;
  int64_t first;
  ENGINE_INLINE ByColumnPointers from(int64_t row) const { return {rows, first + row}; }
  ENGINE_INLINE Cursor cursor(int64_t p) const { return {rows + p, first}; }
  ENGINE_INLINE int64_t run(int64_t, int64_t end) const { return end; }
};

/// Rows from `first` on of a kernel in panels.
struct ByPanels {
  const float* a;
  Panels panels;
  int64_t first;
  ENGINE_INLINE RowCursor cursor(int64_t p) const {
    const Panel panel = panels.of(p);
    return {a + panel.offset + first * panel.width + (p - panel.first), panel.width};
  }
  ENGINE_INLINE int64_t run(int64_t p, int64_t end) const {
    const Panel panel = panels.of(p);
    const int64_t edge = panel.first + panel.width;
    return edge < end ? edge : end;
  }
};

// How a tile reads the vectors of its right operand: `at(p)`.

struct WholeVectors {
  ENGINE_INLINE vf at(const float* p) const { return load(p); }
};

/// One that is narrower, behind which nothing may be read.
struct PartOfVector {
  int64_t count;
  ENGINE_INLINE vf at(const float* p) const { return load_part(p, count); }
};

/// acc += a (Rows,) b (Vectors * kWidth,)^T
template <int Rows, int Vectors, class Cursor, class B = WholeVectors>
ENGINE_INLINE void add_term(vf (&acc)[Rows][Vectors], const Cursor& cursor, const float* b, const B& vectors = {}) {
  const auto a = cursor.here();
  vf bp[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) bp[v] = vectors.at(b + v * kWidth);
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = fma(broadcast(a.at(i, v)), bp[v], acc[i][v]);
  }
}

/// tile (Rows, Vectors) = A (Rows, k) B (k, Vectors * kWidth) over p in [begin, end), from zero. Not inlined: among
/// an epilogue's values GCC spills accumulators inside this loop (1.6 times the time of a batch of 32), and all
/// epilogues share the code. The way through memory costs 16 stores and loads per tile.
template <int Rows, int Vectors, class A>
__attribute__((noinline)) void chain(vf (&tile)[Rows][Vectors], const A operand, const float* b, int64_t ldb,
                                     int64_t begin, int64_t end) {
  vf acc[Rows][Vectors];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = vf{};
  }
  b += begin * ldb;
  for (int64_t p = begin; p < end;) {
    auto a = operand.cursor(p);
    const int64_t stop = operand.run(p, end);
#pragma GCC unroll 2
    for (; p < stop; ++p, a.next(), b += ldb) add_term(acc, a, b);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) tile[i][v] = acc[i][v];
  }
}

/// tile = A (Rows, k) B (k, Vectors * kWidth)
template <int Rows, int Vectors, class A>
ENGINE_INLINE void microtile(vf (&tile)[Rows][Vectors], const A& a, const float* b, int64_t ldb, int64_t k) {
  chain(tile, a, b, ldb, 0, k < kChain ? k : kChain);
  for (int64_t p = kChain; p < k; p += kChain) {
    vf block[Rows][Vectors];
    chain(block, a, b, ldb, p, k < p + kChain ? k : p + kChain);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) tile[i][v] = tile[i][v] + block[i][v];
    }
  }
}

template <int N>
struct Size {
  static constexpr int value = N;
};

/// Covers [begin, end) with pieces of at most `Largest`, halving for the tail: f(Size<piece>, start).
template <int Largest, int Smallest = 1, class F>
ENGINE_INLINE void sweep(int64_t begin, int64_t end, int64_t unit, F&& f) {
  for (; begin + Largest * unit <= end; begin += Largest * unit) f(Size<Largest>{}, begin);
  if constexpr (Largest > Smallest) sweep<Largest / 2, Smallest>(begin, end, unit, f);
}

/// Covers rows with pieces of `Largest`, the rest one by one: where smaller pieces would make up more code than they
/// are worth.
template <int Largest, class F>
ENGINE_INLINE void sweep_rows(Range rows, F&& f) {
  int64_t i = rows.begin;
  for (; i + Largest <= rows.end; i += Largest) f(Size<Largest>{}, i);
  for (; i < rows.end; ++i) f(Size<1>{}, i);
}

/// Covers columns with at most `Most` vectors at a time: f(Size<vectors>, column). None are fewer than a cache line's.
template <int Most, class F>
ENGINE_INLINE void sweep_vectors(Range columns, F&& f) {
  sweep<Most, (kParts < Most ? kParts : Most)>(columns.begin, columns.end, kWidth, f);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
