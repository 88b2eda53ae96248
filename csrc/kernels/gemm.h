// The general product of ops.matmul: blocks of it from packed or plain operands, and the dot product.
#pragma once
#include "kernels/activations.h"
#include "kernels/add_chains.h"
#include "kernels/microtile.h"
#include "kernels/pack.h"
#include "kernels/strided_vectors.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// A tile of c, or of the sums that wait for more chains.
struct Place {
  float* at;
  int64_t row, column;  // strides
  int64_t rows, columns;

  ENGINE_INLINE vf load_vector(int64_t i, int v) const {
    const float* from = at + i * row + v * kWidth * column;
    if (column == 1) return left(v) < kWidth ? load_part(from, left(v)) : load(from);
    return load_strided(from, column, left(v));
  }

  ENGINE_INLINE void store_vector(int64_t i, int v, vf sum) const {
    float* to = at + i * row + v * kWidth * column;
    if (column == 1) return left(v) < kWidth ? store_part(to, sum, left(v)) : store(to, sum);
    store_strided(to, column, sum, left(v));
  }

  /// Columns from vector v on.
  ENGINE_INLINE int64_t left(int v) const { return columns - v * kWidth; }
};

/// Where a tile's sums of the chains before lie, and where they go; the first chain comes from nowhere.
struct Way {
  Place from, to;
  bool first, last;
};

/// Adds the chains of this block of k to the sum of those before; after the last, bias and activation.
template <class Act>
void finish(const Gemm& op, const Way& way, const float* bias, const vf* tile, int vectors) {
  if (!way.last) bias = nullptr;
  const float* by_row = bias && op.bias_by_row ? bias : nullptr;
  for (int v = 0; v < vectors; ++v) {
    const int64_t left = way.to.left(v);
    if (left <= 0) return;
    vf by_column{};
    if (bias && !by_row) by_column = left < kWidth ? load_part(bias + v * kWidth, left) : load(bias + v * kWidth);
    for (int64_t i = 0; i < way.to.rows; ++i) {
      const vf chain = tile[i * vectors + v];
      vf sum = way.first ? chain : way.from.load_vector(i, v) + chain;
      if (way.last) sum = Act::forward((sum + 0.0f) + (by_row ? broadcast(by_row[i]) : by_column));
      way.to.store_vector(i, v, sum);
    }
  }
}

/// What finishes tiles: every shape of them, and of products, shares it.
struct Finish {
  decltype(&finish<Linear>) tile;
  bool changes;  // more than a bias does
};

/// Where sums wait for more chains, if any do.
ENGINE_INLINE float* waiting(const Gemm& op, int64_t at) { return op.partial ? op.partial + at : nullptr; }

/// A tile of Vectors vectors in its place, without further ado where it has no epilogue.
template <int Rows, int Vectors, class A>
ENGINE_INLINE void gemm_tile(const Gemm& op, const Finish& finish, const A& a, const float* b, int64_t i, int64_t j,
                             int64_t rows, int64_t columns) {
  const Sums partial{waiting(op, j * op.partial_rows + i * kPanelColumns), kPanelColumns};
  const Sums c{op.c + i * op.c_row + j * op.c_column, op.c_row};
  const bool bare = rows % kRowStep<Vectors, A> == 0 && (!op.last || !(finish.changes || op.bias));
  const bool touches_c = !op.to_partial || !(op.first || op.from_partial);
  if (bare && (!touches_c || (op.c_column == 1 && columns == Vectors * kWidth))) {
    const Sums from = op.first ? Sums{nullptr, 0} : op.from_partial ? partial : c;
    return add_chains<Rows, Vectors>(rows, from, op.to_partial ? partial : c, a, b, op.b_row, op.k);
  }
  vf tile[Rows * Vectors];
  const Sums kept{reinterpret_cast<float*>(tile), Vectors * kWidth};
  add_chains<Rows, Vectors>(rows, {nullptr, 0}, kept, a, b, op.b_row, op.k);
  const Place of_c{c.at, c.row, op.c_column, rows, columns},
      of_partial{partial.at, partial.row, 1, rows, Vectors * kWidth};
  const Way way{op.from_partial ? of_partial : of_c, op.to_partial ? of_partial : of_c, op.first, op.last};
  finish.tile(op, way, op.bias ? op.bias + (op.bias_by_row ? i : j) : nullptr, tile, Vectors);
}

/// The vector as it is, in a register: GCC would take it apart, lane by lane back through the shuffles that made it.
ENGINE_INLINE vf whole(vf v) {
#if defined(__SSE2__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
  return v;
}

/// tile (Rows, Vectors * kWidth) = A (Rows, k) B (k, columns), where row r of A is at `a + r` and not the rows of B are
/// contiguous but its columns. Four terms at a time: few lines of memory are under way then, which share a cache set
/// where columns are a power of two apart.
template <int Rows, int Vectors>
__attribute__((noinline)) void chain_across(vf (&tile)[Rows][Vectors], const Gemm& op, const float* a, int64_t next,
                                            const float* b, int64_t columns) {
  constexpr int64_t kColumns = Vectors * kWidth;
  const float* column[kColumns];
  for (int64_t j = 0; j < kColumns; ++j) column[j] = b + (j < columns ? j : 0) * op.b_column;
  float last_of_a[4][Rows] = {}, last_of_b[kColumns][4] = {};
  vf sums[Rows][Vectors] = {};
  int64_t p = 0;
  for (int64_t left = op.k; left > 0; left -= 4, p += 4, a += 4 * next) {
    if (left < 4) {
      for (int64_t i = 0; i < left; ++i) std::memcpy(last_of_a[i], a + i * next, sizeof last_of_a[i]);
      for (int64_t j = 0; j < kColumns; ++j) {
        for (int64_t i = 0; i < left; ++i) last_of_b[j][i] = column[j][p + i];
        column[j] = last_of_b[j];
      }
      a = last_of_a[0];
      next = Rows;
      p = 0;
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      vf terms[4];
      load_four_columns(terms, [&](int j) { return column[v * kWidth + j] + p; });
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const vf term = whole(terms[i]);
#pragma GCC unroll 12
        for (int r = 0; r < Rows; ++r) sums[r][v] = fma(broadcast(a[i * next + r]), term, sums[r][v]);
      }
    }
  }
  std::memcpy(tile, sums, sizeof sums);
}

/// Of so few rows that no sums wait elsewhere than in c.
__attribute__((noinline)) void finish_in_place(const Gemm& op, const Finish& finish, int64_t i, int64_t j, int64_t rows,
                                               int64_t columns, const vf* tile, int vectors) {
  const Place c{op.c + i * op.c_row + j * op.c_column, op.c_row, op.c_column, rows, columns};
  finish.tile(op, {c, c, op.first, op.last}, op.bias ? op.bias + (op.bias_by_row ? i : j) : nullptr, tile, vectors);
}

/// One row has only its columns to fill the FMA pipes with: Vectors at a time, halving for the tail.
template <int Vectors>
ENGINE_INLINE void gemm_row(const Gemm& op, const Finish& finish, const float* b, int64_t j, int64_t columns) {
  for (; columns > (Vectors - 1) * kWidth; columns -= Vectors * kWidth, j += Vectors * kWidth, b += Vectors * kWidth) {
    vf tile[1][Vectors];
    chain(tile, ByColumns{op.a, op.a_next}, b, op.b_row, 0, op.k);
    finish_in_place(op, finish, 0, j, 1, columns < Vectors * kWidth ? columns : Vectors * kWidth, tile[0], Vectors);
  }
  if constexpr (Vectors > 1) {
    if (columns > 0) gemm_row<Vectors / 2>(op, finish, b, j, columns);
  }
}

/// The last columns, less than a vector.
template <int Rows, bool Pads, class F>
ENGINE_INLINE void gemm_part(const Gemm& op, const Finish& finish, int64_t columns, F&& a) {
  const int64_t j = op.columns - columns;
  const auto tile = [&](auto size, int64_t i) {
    constexpr int kRows = decltype(size)::value;
    vf sums[kRows];
    const Sums kept{reinterpret_cast<float*>(sums), kWidth};
    add_chain<kRows, 1>({nullptr, 0}, kept, a(i), op.b + j, op.b_row, op.k, PartOfVector{columns});
    const int64_t left = op.rows - i;
    finish_in_place(op, finish, i, j, left < kRows ? left : kRows, columns, sums, 1);
  };
  if constexpr (Pads) {
    for (int64_t i = 0; i < op.rows; i += Rows) tile(Size<Rows>{}, i);
  } else {
    sweep<Rows>(0, op.rows, 1, tile);
  }
}

ENGINE_INLINE void gemm_rows(const Gemm& op, const Finish& finish) {
  const int64_t part = op.b_in_parts ? op.columns % kWidth : 0, end = op.columns - part;
  for (int64_t j = 0; j < end; j += kSingleRowColumns) {
    const int64_t left = end - j;
    gemm_row<kSingleRowVectors>(op, finish, op.b + j * op.b_column, j,
                                left < kSingleRowColumns ? left : kSingleRowColumns);
  }
  if constexpr (kLoadsParts) {
    if (part > 0) gemm_part<1, false>(op, finish, part, [&](int64_t) { return ByColumns{op.a, op.a_next}; });
  }
}

/// Where a tile takes all registers of its rows there are none to turn columns in.
constexpr int64_t kRowsAcross = ENGINE_VECTOR_BYTES == 64 ? 3 * kPanelRows : ENGINE_VECTOR_BYTES == 32 ? 4 : 1;

/// Up to Rows rows, from row i on, as if they were the next multiple of 4: those missing are pads of packed a.
template <int Rows>
ENGINE_INLINE void gemm_rows_across(const Gemm& op, const Finish& finish, int64_t i, int64_t rows) {
  if constexpr (Rows > 4) {
    if (rows <= Rows - 4) return gemm_rows_across<Rows - 4>(op, finish, i, rows);
  }
  constexpr int kVectors = Rows == 1 ? kParts : 1;
  constexpr int64_t kColumns = kVectors * kWidth;
  const float* a = op.a_packed ? op.a + i * op.k : op.a;
  for (int64_t j = 0; j < op.columns; j += kColumns) {
    const int64_t columns = op.columns - j < kColumns ? op.columns - j : kColumns;
    vf tile[Rows][kVectors];
    chain_across(tile, op, a, op.a_packed ? kPanelRows : op.a_next, op.b + j * op.b_column, columns);
    finish_in_place(op, finish, i, j, rows, columns, tile[0], kVectors);
  }
}

ENGINE_INLINE void gemm_across(const Gemm& op, const Finish& finish) {
  if (!op.a_packed) return gemm_rows_across<1>(op, finish, 0, 1);
  constexpr int kMost = kRowsAcross < kPanelRows ? kRowsAcross : kPanelRows;
  for (int64_t i = 0; i < op.rows; i += kPanelRows) {
    const int64_t left = op.rows - i;
    gemm_rows_across<kMost>(op, finish, i, left < kPanelRows ? left : kPanelRows);
  }
}

/// A panel of b stays in the L1 cache while the rows of a go by.
template <int Rows, int Vectors, class F>
ENGINE_INLINE void gemm_panel(const Gemm& op, const Finish& finish, const float* b, int64_t j, int64_t columns, F&& a) {
  for (int64_t i = 0; i < op.rows; i += Rows) {
    const int64_t rows = op.rows - i < Rows ? op.rows - i : Rows;
    gemm_tile<Rows, Vectors>(op, finish, a(i), b, i, j, rows, columns);
  }
}

/// `Pads`: rows of a that are missing to a tile may be read.
template <int Rows, bool Pads, class F>
ENGINE_INLINE void gemm_panels(const Gemm& op, const Finish& finish, F&& a) {
  const int64_t part = op.b_in_parts ? op.columns % kWidth : 0, end = op.columns - part;
  for (int64_t j = 0; j < end; j += kPanelColumns) {
    const int64_t columns = end - j < kPanelColumns ? end - j : kPanelColumns;
    const float* b = op.b + j * op.b_column;
    if (columns > kWidth) {
      gemm_panel<Rows, kTileVectors>(op, finish, b, j, columns, a);
    } else {
      gemm_panel<Rows, 1>(op, finish, b, j, columns, a);
    }
  }
  if constexpr (kLoadsParts) {
    if (part > 0) gemm_part<Rows, Pads>(op, finish, part, a);
  }
}

__attribute__((noinline)) void multiply(const Gemm& op, const Finish& finish) {
  if (op.b_across) {
    gemm_across(op, finish);
  } else if (op.panel == kSingleRowColumns) {
    gemm_rows(op, finish);
  } else if (op.a_packed) {
    gemm_panels<kPanelRows, true>(op, finish, [&](int64_t i) { return ByTiles{op.a + i * op.k}; });
  } else if (op.a_next == 1) {
    gemm_panels<kTileRows, false>(op, finish, [&](int64_t i) { return ByRows{op.a + i * op.a_row, op.a_row}; });
  } else {
    gemm_panels<kTileRows, false>(op, finish, [&](int64_t i) { return ByColumns{op.a + i, op.a_next}; });
  }
}

template <class Act>
void gemm(const Gemm& op) {
  multiply(op, {finish<Act>, Act::kKind != Activation::kLinear});
}

/// kWidth chains at a time, each in a lane of its own.
float dot(const Dot& op) {
  const float zeros[kChain] = {};
  float last_of_a[kChain] = {}, last_of_b[kChain] = {};
  float total = 0.0f;
  for (int64_t begin = 0; begin < op.k; begin += kWidth * kChain) {
    const float *a[kWidth], *b[kWidth];
    for (int64_t i = 0; i < kWidth; ++i) {
      const int64_t at = begin + i * kChain, left = op.k - at;
      a[i] = left > 0 ? op.a + at : zeros;
      b[i] = left > 0 ? op.b + at : zeros;
      if (left <= 0 || left >= kChain) continue;
      std::memcpy(last_of_a, a[i], static_cast<size_t>(left) * sizeof(float));
      std::memcpy(last_of_b, b[i], static_cast<size_t>(left) * sizeof(float));
      a[i] = last_of_a;
      b[i] = last_of_b;
    }
    vf sums{};
    for (int64_t p = 0; p < kChain && begin + p < op.k; p += 4) {
      vf terms_of_a[4], terms_of_b[4];
      load_four_columns(terms_of_a, [&](int i) { return a[i] + p; });
      load_four_columns(terms_of_b, [&](int i) { return b[i] + p; });
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sums = fma(terms_of_a[i], terms_of_b[i], sums);
    }
    for (int i = 0; i < kWidth; ++i) total = total + sums[i];
  }
  return total + 0.0f;
}

}  // namespace
}  // namespace engine::ENGINE_ISA
