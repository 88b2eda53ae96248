// The inner kernel of every matrix product: a tile of Rows x Vectors accumulators in registers, to which it adds one
// chain of rank-1 updates.
#pragma once
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

// The register tile (mr, nr) = (kTileRows, kTileVectors * kWidth). It has enough accumulators to hide the latency of
// the multiply-adds (at least 8 independent ones), and leaves registers for a row of B and one broadcast element of A.
// GFLOP/s of a core of Zen 5 by tile, of 270 possible: 8 x 2 vectors of AVX-512 267, 6 x 4 262, 16 x 1 233, 4 x 4 213.
// AVX2 has 16 registers, which hold 6 x 2 (134 to 139 of 135 at the base clock).
#if ENGINE_VECTOR_BYTES == 64
constexpr int kTileRows = 8, kTileVectors = 2;
#elif ENGINE_VECTOR_BYTES == 32
constexpr int kTileRows = 6, kTileVectors = 2;
#else
constexpr int kTileRows = 4, kTileVectors = 2;
#endif
/// A tile of a single row needs this many vectors for as many independent multiply-adds.
constexpr int kSingleRowVectors = 8;

// How a tile reads its left operand A (Rows, k): each of the following structs describes one layout. `cursor(p)` stands
// at column p of A, and `next()` moves it to column p + 1; `last(p, end)` says up to which column, at most `end`, it
// may be moved before a new cursor has to be made. `elements().at(i, v)` is element (i, p), to be multiplied with
// vector v of row p of B.

/// Returns the pointer unchanged, but keeps the compiler from knowing that it is the same address.
template <class T>
ENGINE_INLINE T* opaque(T* p) {
  __asm__("" : "+r"(p));
  return p;
}

/// The elements of a column of A that are contiguous in memory. Compilers load each into a register and multiply it
/// with both vectors of B: three instructions. With AVX-512 a multiply-add can broadcast its factor from memory, which
/// takes two, and compilers use that for addresses that they take for different ones. All rows but every `Kept`-th are
/// read in this way; if all were, the loads would take longer than the multiply-adds. It saves a fifth of the time
/// where the two hardware threads of a core share its decoder.
template <int Kept>
struct ContiguousElements {
  const float *a, *again;
  explicit ENGINE_INLINE ContiguousElements(const float* column) : a(column), again(opaque(column)) {}
  ENGINE_INLINE float at(int i, int v) const {
    const bool from_memory = ENGINE_VECTOR_BYTES == 64 && v % 2 != 0 && i % Kept != 0;
    return (from_memory ? again : a)[i];
  }
};

/// Moves along rows that are `ld` floats apart and contiguous.
struct RowCursor {
  const float* a;
  int64_t ld;
  ENGINE_INLINE const RowCursor& elements() const { return *this; }
  ENGINE_INLINE float at(int64_t i, int) const { return a[i * ld]; }
  ENGINE_INLINE void next() { ++a; }
};

/// Moves along columns that are `ld` floats apart and contiguous.
struct ColumnCursor {
  const float* a;
  int64_t ld;
  ENGINE_INLINE ContiguousElements<2> elements() const { return ContiguousElements<2>(a); }
  ENGINE_INLINE void next() { a += ld; }
};

/// A is row-major with leading dimension ld.
struct RowMajor {
  const float* a;
  int64_t ld;
  ENGINE_INLINE RowCursor cursor(int64_t p) const { return {a + p, ld}; }
  ENGINE_INLINE int64_t last(int64_t, int64_t end) const { return end; }
};

/// A is column-major with leading dimension ld: the transpose of a row-major matrix.
struct ColumnMajor {
  const float* a;
  int64_t ld;
  ENGINE_INLINE ColumnMajor from_row(int64_t i) const { return {a + i, ld}; }
  ENGINE_INLINE ColumnCursor cursor(int64_t p) const { return {a + p * ld, ld}; }
  ENGINE_INLINE int64_t last(int64_t, int64_t end) const { return end; }
};

/// A is given by a pointer to each of its rows.
template <int Rows>
struct RowPointers {
  struct Cursor {
    const float* a[Rows];
    int64_t p;
    ENGINE_INLINE const Cursor& elements() const { return *this; }
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
  ENGINE_INLINE int64_t last(int64_t, int64_t end) const { return end; }
};

/// A is given by a pointer to each of its columns, of which it is the elements from row `first` on.
struct ColumnPointers {
  struct Cursor {
    const float* const* column;
    int64_t first;
    // An opaque pointer makes the compiler use small offsets from it instead of one register for each row.
    ENGINE_INLINE ContiguousElements<2> elements() const { return ContiguousElements<2>(opaque(*column + first)); }
    ENGINE_INLINE void next() { ++column; }
  };
  const float* const* columns;
  int64_t first;
  ENGINE_INLINE ColumnPointers from_row(int64_t i) const { return {columns, first + i}; }
  ENGINE_INLINE Cursor cursor(int64_t p) const { return {columns + p, first}; }
  ENGINE_INLINE int64_t last(int64_t, int64_t end) const { return end; }
};

/// A is rows of a layer's kernel, from row `first` on, which is stored in panels of columns (layout.h).
struct KernelPanels {
  const float* kernel;
  Panels panels;
  int64_t first;
  ENGINE_INLINE RowCursor cursor(int64_t p) const {
    const Panel panel = panels.of(p);
    return {kernel + panel.offset + first * panel.width + (p - panel.first), panel.width};
  }
  ENGINE_INLINE int64_t last(int64_t p, int64_t end) const {
    const Panel panel = panels.of(p);
    const int64_t edge = panel.first + panel.width;
    return edge < end ? edge : end;
  }
};

// How a tile reads a vector of its right operand B.

struct WholeVectors {
  ENGINE_INLINE vf at(const float* p) const { return load(p); }
};

/// Reads the first `count` floats of a vector, and nothing behind them.
struct PartialVector {
  int64_t count;
  ENGINE_INLINE vf at(const float* p) const { return load_partial(p, count); }
};

/// acc += a (Rows,) b (Vectors * kWidth,)^T
template <int Rows, int Vectors, class Cursor, class B>
ENGINE_INLINE void rank_1_update(vf (&acc)[Rows][Vectors], const Cursor& cursor, const float* b, const B& vectors) {
  const auto a = cursor.elements();
  vf bp[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) bp[v] = vectors.at(b + v * kWidth);
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = fma(broadcast(a.at(i, v)), bp[v], acc[i][v]);
  }
}

/// A matrix of whole vectors in memory: a tile, or a part of a larger matrix.
struct VectorRows {
  float* data;
  int64_t ld;
};

/// Says that there are no sums yet.
constexpr VectorRows kFromZero{nullptr, 0};

template <int Rows, int Vectors>
ENGINE_INLINE VectorRows rows_of(vf (&tile)[Rows][Vectors]) {
  return {reinterpret_cast<float*>(tile), Vectors * kWidth};
}

/// Moves to the next row. An opaque pointer keeps GCC from computing the addresses of all rows first and spilling them.
ENGINE_INLINE void next_row(VectorRows& rows) { rows.data = opaque(rows.data + rows.ld); }

/// acc = sums + acc
template <int Rows, int Vectors>
ENGINE_INLINE void add_rows(vf (&acc)[Rows][Vectors], VectorRows sums) {
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i, next_row(sums)) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = load(sums.data + v * kWidth) + acc[i][v];
  }
}

/// A tile of Rows x Vectors vectors, which an epilogue takes up next.
struct Tile {
  vf* vectors;
};

template <int Rows, int Vectors>
ENGINE_INLINE void store_rows(const vf (&acc)[Rows][Vectors], Tile out) {
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) out.vectors[i * Vectors + v] = acc[i][v];
  }
}

/// Adds +0, with which every product ends so that its bits do not depend on whether zero terms were skipped. After a
/// tile this is up to the epilogue: here, it would add 0.7 % to the instructions of a step of 784-128-10.
template <int Rows, int Vectors>
ENGINE_INLINE void store_rows(const vf (&acc)[Rows][Vectors], VectorRows out) {
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i, next_row(out)) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) store(out.data + v * kWidth, acc[i][v] + 0.0f);
  }
}

/// out (Rows, Vectors * kWidth) = sums + A[:, terms] B[terms, :], for at most kChain terms. `out` is a Tile, or
/// VectorRows; `sums` may lie there as well, or be kFromZero. It is not inlined: among the values of an epilogue GCC
/// spills accumulators inside this loop (1.6 times the time of a batch of 32). Storing a tile that an epilogue loads
/// again costs less, 16 stores and loads.
template <int Rows, int Vectors, class Out, class A, class B = WholeVectors>
__attribute__((noinline)) void add_chain(const VectorRows sums, const Out out, const A operand, const float* b,
                                         int64_t ldb, const Range terms, const B vectors = {}) {
  vf acc[Rows][Vectors];
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = vf{};
  }
  b += terms.begin * ldb;
  for (int64_t p = terms.begin; p < terms.end;) {
    auto a = operand.cursor(p);
    const int64_t stop = operand.last(p, terms.end);
#pragma GCC unroll 2
    for (; p < stop; ++p, a.next(), b += ldb) rank_1_update(acc, a, b, vectors);
  }
  if (sums.data) add_rows(acc, sums);
  store_rows(acc, out);
}

/// The chain that begins with term `begin` of a product of k terms.
ENGINE_INLINE Range chain_from(int64_t begin, int64_t k) { return {begin, k < begin + kChain ? k : begin + kChain}; }

/// tile (Rows, Vectors * kWidth) = A (Rows, k) B (k, Vectors * kWidth)
template <int Rows, int Vectors, class A>
ENGINE_INLINE void microtile(vf (&tile)[Rows][Vectors], const A& a, const float* b, int64_t ldb, int64_t k) {
  add_chain<Rows, Vectors>(kFromZero, Tile{tile[0]}, a, b, ldb, chain_from(0, k));
  for (int64_t p = kChain; p < k; p += kChain) {
    add_chain<Rows, Vectors>(rows_of(tile), Tile{tile[0]}, a, b, ldb, chain_from(p, k));
  }
}

template <int N>
struct Size {
  static constexpr int value = N;
};

/// Covers [begin, end) with pieces of `Largest` units, and what remains with ever halved ones down to `Smallest`: calls
/// f(Size<units of the piece>, begin of the piece).
template <int Largest, int Smallest = 1, class F>
ENGINE_INLINE void sweep(int64_t begin, int64_t end, int64_t unit, F&& f) {
  for (; begin + Largest * unit <= end; begin += Largest * unit) f(Size<Largest>{}, begin);
  if constexpr (Largest > Smallest) sweep<Largest / 2, Smallest>(begin, end, unit, f);
}

/// Covers rows with pieces of `Largest` rows, and what remains with single ones: f(Size<rows of the piece>, first row).
template <int Largest, class F>
ENGINE_INLINE void sweep_rows(Range rows, F&& f) {
  int64_t i = rows.begin;
  for (; i + Largest <= rows.end; i += Largest) f(Size<Largest>{}, i);
  for (; i < rows.end; ++i) f(Size<1>{}, i);
}

/// Covers columns with at most `Most` vectors at a time, and at least those of a cache line:
/// f(Size<vectors>, first column).
template <int Most, class F>
ENGINE_INLINE void sweep_vectors(Range columns, F&& f) {
  sweep<Most, (kVectorsPerLine < Most ? kVectorsPerLine : Most)>(columns.begin, columns.end, kWidth, f);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
