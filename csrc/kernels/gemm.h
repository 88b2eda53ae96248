// The general product of ops.matmul: blocks of it from packed or plain operands, and the dot product.
#pragma once
#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/pack.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// 12 x 2 takes 24 of 32 registers and pays its way in and out less often than 8 x 2. Rows that lie apart need a
/// pointer each: those of 12 spill.
constexpr int kPanelRows = ENGINE_VECTOR_BYTES == 64 ? 12 : kTileRows;

/// A in panels of kPanelRows rows, column after column.
struct ByTiles {
  const float* a;
  ENGINE_INLINE ColumnCursor cursor(int64_t p) const { return {a + p * kPanelRows, kPanelRows}; }
  ENGINE_INLINE int64_t run(int64_t, int64_t end) const { return end; }
};

constexpr int64_t kPanelColumns = kTileVectors * kWidth;
constexpr int64_t kSingleRowColumns = kSingleRowVectors * kWidth;

/// Rows of whole vectors in memory.
struct Sums {
  float* at;
  int64_t row;
};

/// Chain of a tile, added to the sums at `from`, if there are any. Adding +0 early changes no bit of the end. Straight
/// from registers to c where there is no epilogue: by way of memory, 4 % slower at 512.
template <int Rows, int Vectors, class A>
__attribute__((noinline)) void add_chain(const Sums from, const Sums to, const A operand, const float* b, int64_t ldb,
                                         int64_t k) {
  vf acc[Rows][Vectors];
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[i][v] = vf{};
  }
  auto a = operand.cursor(0);
#pragma GCC unroll 1
  for (int64_t p = 0; p < k; ++p, a.next(), b += ldb) {
    vf bp[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) bp[v] = load(b + v * kWidth);
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      const vf ai = broadcast(a[i]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) acc[i][v] = fma(ai, bp[v], acc[i][v]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const vf sum = from.at ? load(from.at + i * from.row + v * kWidth) + acc[i][v] : acc[i][v];
      store(to.at + i * to.row + v * kWidth, sum + 0.0f);
    }
  }
}

/// f(Size<rows>) for 1 <= rows <= Rows
template <int Rows, class F>
ENGINE_INLINE void with_rows(int64_t rows, F&& f) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return with_rows<Rows - 1>(rows, f);
  }
  f(Size<Rows>{});
}

/// A tile of c, or of the sums that wait for more chains.
struct Place {
  float* at;
  int64_t row, column;  // strides
  int64_t rows, columns;

  /// Whether rows of so many vectors need no care at the edge.
  ENGINE_INLINE bool whole(int vectors) const { return column == 1 && columns == vectors * kWidth; }

  template <int Vectors>
  ENGINE_INLINE vf load_vector(int64_t i, int v) const {
    const float* from = at + i * row + v * kWidth * column;
    if (whole(Vectors)) return load(from);
    vf sum{};
    for (int64_t l = 0; l < count(v); ++l) sum[l] = from[l * column];
    return sum;
  }

  template <int Vectors>
  ENGINE_INLINE void store_vector(int64_t i, int v, vf sum) const {
    float* to = at + i * row + v * kWidth * column;
    if (whole(Vectors)) return store(to, sum);
    for (int64_t l = 0; l < count(v); ++l) to[l * column] = sum[l];
  }

 private:
  ENGINE_INLINE int64_t count(int v) const {
    const int64_t left = columns - v * kWidth;
    return left < kWidth ? left : kWidth;
  }
};

/// Where a tile's sums of the chains before lie, and where they go; the first chain comes from nowhere.
struct Way {
  Place from, to;
  bool first, last;
};

/// Adds the chains of this block of k to the sum of those before; after the last, bias and activation. Not inlined:
/// every shape of tile shares it.
template <class Act, int Vectors>
__attribute__((noinline)) void finish(const Gemm& op, const Way& way, const float* bias, const vf* tile) {
  vf by_column[Vectors] = {};
  if (bias && !op.bias_by_row) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const int64_t left = way.to.columns - v * kWidth;
      if (left > 0) by_column[v] = left < kWidth ? load_part(bias + v * kWidth, left) : load(bias + v * kWidth);
    }
  }
  const float* by_row = bias && op.bias_by_row ? bias : nullptr;
  for (int64_t i = 0; i < way.to.rows; ++i, tile += Vectors) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      vf sum = way.first ? tile[v] : way.from.load_vector<Vectors>(i, v) + tile[v];
      if (way.last) sum = Act::forward((sum + 0.0f) + (by_row ? broadcast(by_row[i]) : by_column[v]));
      way.to.store_vector<Vectors>(i, v, sum);
    }
  }
}

/// A tile of Vectors vectors in its place, without further ado where it has no epilogue.
template <class Act, int Rows, int Vectors, class A>
ENGINE_INLINE void gemm_tile(const Gemm& op, const A& a, const float* b, int64_t i, int64_t j, int64_t rows,
                             int64_t columns) {
  const Sums partial{op.partial + j * op.partial_rows + i * kPanelColumns, kPanelColumns};
  const Sums c{op.c + i * op.c_row + j * op.c_column, op.c_row};
  const bool bare = !op.last || (Act::kKind == Activation::kLinear && !op.bias);
  const bool touches_c = !op.to_partial || !(op.first || op.from_partial);
  if (bare && (!touches_c || (op.c_column == 1 && columns == Vectors * kWidth))) {
    const Sums from = op.first ? Sums{nullptr, 0} : op.from_partial ? partial : c;
    return with_rows<Rows>(rows, [&](auto count) {
      add_chain<decltype(count)::value, Vectors>(from, op.to_partial ? partial : c, a, b, op.b_row, op.k);
    });
  }
  vf tile[Rows * Vectors];
  const Sums kept{reinterpret_cast<float*>(tile), Vectors * kWidth};
  with_rows<Rows>(
      rows, [&](auto count) { add_chain<decltype(count)::value, Vectors>({nullptr, 0}, kept, a, b, op.b_row, op.k); });
  const Place of_c{c.at, c.row, op.c_column, rows, columns},
      of_partial{partial.at, partial.row, 1, rows, Vectors * kWidth};
  const Way way{op.from_partial ? of_partial : of_c, op.to_partial ? of_partial : of_c, op.first, op.last};
  finish<Act, Vectors>(op, way, op.bias ? op.bias + (op.bias_by_row ? i : j) : nullptr, tile);
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

/// tile (1, Vectors * kWidth) = a (1, k) B (k, columns) where not the rows of B are contiguous but its columns: squares
/// are turned in registers. Two of them, so that one waits for the multiply-adds of the other.
template <int Vectors>
__attribute__((noinline)) void chain_across(vf (&tile)[Vectors], const Gemm& op, const float* b, int64_t columns) {
  vf acc[Vectors] = {};
  for (int64_t p = 0; p < op.k; p += kWidth) {
    const int64_t count = op.k - p < kWidth ? op.k - p : kWidth;
    const float* a = op.a + p * op.a_next;
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const float* from = b + v * kWidth * op.b_column + p;
      if (count == kWidth && columns >= (v + 1) * kWidth) {
        vf square[kWidth];
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) square[i] = load(from + i * op.b_column);
        transpose_square(square);
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) acc[v] = fma(broadcast(a[i * op.a_next]), whole(square[i]), acc[v]);
        continue;
      }
      for (int64_t i = 0; i < count; ++i) {
        vf row{};
        for (int64_t l = 0; l < kWidth && v * kWidth + l < columns; ++l) row[l] = from[l * op.b_column + i];
        acc[v] = fma(broadcast(a[i * op.a_next]), row, acc[v]);
      }
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) tile[v] = acc[v];
}

template <class Act, int Vectors>
ENGINE_INLINE void finish_row(const Gemm& op, int64_t j, int64_t columns, const vf* tile) {
  const Place c{op.c + j * op.c_column, 0, op.c_column, 1, columns}, partial{op.partial + j, 0, 1, 1, Vectors * kWidth};
  const Way way{op.from_partial ? partial : c, op.to_partial ? partial : c, op.first, op.last};
  finish<Act, Vectors>(op, way, op.bias ? op.bias + (op.bias_by_row ? 0 : j) : nullptr, tile);
}

/// One row has only its columns to fill the FMA pipes with: Vectors at a time, halving for the tail.
template <class Act, int Vectors>
ENGINE_INLINE void gemm_row(const Gemm& op, const float* b, int64_t j, int64_t columns) {
  for (; columns > (Vectors - 1) * kWidth; columns -= Vectors * kWidth, j += Vectors * kWidth, b += Vectors * kWidth) {
    vf tile[1][Vectors];
    chain(tile, ByColumns{op.a, op.a_next}, b, op.b_row, 0, op.k);
    finish_row<Act, Vectors>(op, j, columns < Vectors * kWidth ? columns : Vectors * kWidth, tile[0]);
  }
  if constexpr (Vectors > 1) {
    if (columns > 0) gemm_row<Act, Vectors / 2>(op, b, j, columns);
  }
}

template <class Act>
ENGINE_INLINE void gemm_rows(const Gemm& op) {
  for (int64_t j = 0; j < op.columns; j += kSingleRowColumns) {
    const int64_t left = op.columns - j;
    gemm_row<Act, kSingleRowVectors>(op, op.b + j * op.b_column, j,
                                     left < kSingleRowColumns ? left : kSingleRowColumns);
  }
}

template <class Act>
ENGINE_INLINE void gemm_row_across(const Gemm& op) {
  constexpr int kVectors = 2;
  for (int64_t j = 0; j < op.columns; j += kVectors * kWidth) {
    const int64_t columns = op.columns - j < kVectors * kWidth ? op.columns - j : kVectors * kWidth;
    vf tile[kVectors];
    chain_across(tile, op, op.b + j * op.b_column, columns);
    finish_row<Act, kVectors>(op, j, columns, tile);
  }
}

/// A panel of b stays in the L1 cache while the rows of a go by.
template <class Act, int Rows, int Vectors, class F>
ENGINE_INLINE void gemm_panel(const Gemm& op, const float* b, int64_t j, int64_t columns, F&& a) {
  for (int64_t i = 0; i < op.rows; i += Rows) {
    const int64_t rows = op.rows - i < Rows ? op.rows - i : Rows;
    gemm_tile<Act, Rows, Vectors>(op, a(i), b, i, j, rows, columns);
  }
}

template <class Act, int Rows, class F>
ENGINE_INLINE void gemm_panels(const Gemm& op, F&& a) {
  for (int64_t j = 0; j < op.columns; j += kPanelColumns) {
    const int64_t columns = op.columns - j < kPanelColumns ? op.columns - j : kPanelColumns;
    const float* b = op.b + j * op.b_column;
    if (columns > kWidth) {
      gemm_panel<Act, Rows, kTileVectors>(op, b, j, columns, a);
    } else {
      gemm_panel<Act, Rows, 1>(op, b, j, columns, a);
    }
  }
}

template <class Act>
void gemm(const Gemm& op) {
  if (op.b_across) {
    gemm_row_across<Act>(op);
  } else if (op.panel == kSingleRowColumns) {
    gemm_rows<Act>(op);
  } else if (op.a_packed) {
    gemm_panels<Act, kPanelRows>(op, [&](int64_t i) { return ByTiles{op.a + i * op.k}; });
  } else if (op.a_next == 1) {
    gemm_panels<Act, kTileRows>(op, [&](int64_t i) { return ByRows{op.a + i * op.a_row, op.a_row}; });
  } else {
    gemm_panels<Act, kTileRows>(op, [&](int64_t i) { return ByColumns{op.a + i, op.a_next}; });
  }
}

/// Element j goes to lane j mod kDotLanes: chains of kChain multiply-adds, added in order, then a fixed tree.
float dot(const Dot& op) {
  constexpr int kSums = 4;
  constexpr int64_t kDotLanes = kSums * kLane;
  constexpr int64_t kBlock = kDotLanes * kChain;
  vf total[kSums * kParts] = {};
  for (int64_t begin = 0; begin < op.k; begin += kBlock) {
    const int64_t end = op.k < begin + kBlock ? op.k : begin + kBlock;
    vf sum[kSums * kParts] = {};
    int64_t p = begin;
    for (; p + kDotLanes <= end; p += kDotLanes) {
#pragma GCC unroll 16
      for (int v = 0; v < kSums * kParts; ++v) {
        sum[v] = fma(load(op.a + p + v * kWidth), load(op.b + p + v * kWidth), sum[v]);
      }
    }
    if (p < end) {
      float a[kDotLanes] = {}, b[kDotLanes] = {};
      std::memcpy(a, op.a + p, static_cast<size_t>(end - p) * sizeof(float));
      std::memcpy(b, op.b + p, static_cast<size_t>(end - p) * sizeof(float));
#pragma GCC unroll 16
      for (int v = 0; v < kSums * kParts; ++v) sum[v] = fma(load(a + v * kWidth), load(b + v * kWidth), sum[v]);
    }
#pragma GCC unroll 16
    for (int v = 0; v < kSums * kParts; ++v) total[v] = total[v] + sum[v];
  }
  LaneSum lanes;
#pragma GCC unroll 4
  for (int v = 0; v < kParts; ++v) {
    lanes.part[v] = (total[v] + total[v + 2 * kParts]) + (total[v + kParts] + total[v + 3 * kParts]);
  }
  return lanes.total() + 0.0f;
}

}  // namespace
}  // namespace engine::ENGINE_ISA
