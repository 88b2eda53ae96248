// The inner loop of the general product: one chain of a tile, added to the sums of those before.
#pragma once
#include "kernels/microtile.h"

namespace engine::ENGINE_ISA {
namespace {

/// 12 x 2 takes 24 of 32 registers and pays its way in and out less often than 8 x 2. Rows that lie apart need a
/// pointer each: those of 12 spill.
constexpr int kPanelRows = ENGINE_VECTOR_BYTES == 64 ? 12 : kTileRows;

/// A in panels of kPanelRows rows, column after column; the last one has pads.
struct ByTiles {
  struct Cursor {
    const float* a;
    ENGINE_INLINE SideBySide<3> here() const { return SideBySide<3>(a); }
    ENGINE_INLINE void next() { a += kPanelRows; }
  };
  const float* a;
  ENGINE_INLINE Cursor cursor(int64_t p) const { return {a + p * kPanelRows}; }
  ENGINE_INLINE int64_t run(int64_t, int64_t end) const { return end; }
};

constexpr int64_t kPanelColumns = kTileVectors * kWidth;
constexpr int64_t kSingleRowColumns = kSingleRowVectors * kWidth;

/// Rows of whole vectors in memory.
struct Sums {
  float* at;
  int64_t row;
};

/// The next row. Of many, GCC would work out all the addresses beforehand, and spill them.
template <class T>
ENGINE_INLINE void go_on(T*& at, int64_t row) {
  at = aside(at + row);
}

template <int Rows, int Vectors>
ENGINE_INLINE void add_rows(vf (&acc)[Rows][Vectors], Sums from) {
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i, go_on(from.at, from.row)) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = load(from.at + v * kWidth) + acc[i][v];
  }
}

template <int Rows, int Vectors>
ENGINE_INLINE void store_rows(const vf (&acc)[Rows][Vectors], Sums to) {
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i, go_on(to.at, to.row)) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) store(to.at + v * kWidth, acc[i][v] + 0.0f);
  }
}

/// Chain of a tile, added to the sums at `from`, if there are any. Adding +0 early changes no bit of the end. Straight
/// from registers to c where there is no epilogue: by way of memory, 4 % slower at 512.
template <int Rows, int Vectors, class A, class B>
__attribute__((noinline)) void add_chain(const Sums from, const Sums to, const A operand, const float* b, int64_t ldb,
                                         int64_t k, const B vectors) {
  vf acc[Rows][Vectors];
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = vf{};
  }
  auto a = operand.cursor(0);
#pragma GCC unroll 2
  for (int64_t p = 0; p < k; ++p, a.next(), b += ldb) add_term(acc, a, b, vectors);
  if (from.at) add_rows(acc, from);
  store_rows(acc, to);
}

/// The last vector of rows of packed a, which has pads: not every number of rows is worth code of its own.
template <int Vectors, class A>
constexpr int kRowStep = 1;
template <>
inline constexpr int kRowStep<1, ByTiles> = kPanelRows / 2;

/// The chain of a tile of 1 <= rows <= Rows, or of the next multiple of kRowStep.
template <int Rows, int Vectors, class A>
__attribute__((noinline)) void add_chains(int64_t rows, const Sums from, const Sums to, const A operand, const float* b,
                                          int64_t ldb, int64_t k) {
  constexpr int kFewer = Rows - kRowStep<Vectors, A>;
  if constexpr (kFewer > 0) {
    if (rows <= kFewer) return add_chains<kFewer, Vectors>(rows, from, to, operand, b, ldb, k);
  }
  add_chain<Rows, Vectors>(from, to, operand, b, ldb, k, WholeVectors{});
}

}  // namespace
}  // namespace engine::ENGINE_ISA
