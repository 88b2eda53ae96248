// The general product of ops.matmul: blocks of it from packed or plain operands, and the dot product.
#pragma once
#include "kernels/activations.h"
#include "kernels/add_chains.h"
#include "kernels/apart.h"
#include "kernels/microtile.h"
#include "kernels/pack.h"
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
    return load_apart(from, column, left(v));
  }

  ENGINE_INLINE void store_vector(int64_t i, int v, vf sum) const {
    float* to = at + i * row + v * kWidth * column;
    if (column == 1) return left(v) < kWidth ? store_part(to, sum, left(v)) : store(to, sum);
    store_apart(to, column, sum, left(v));
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
  const bool bare = !op.last || !(finish.changes || op.bias);
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

ENGINE_INLINE void finish_row(const Gemm& op, const Finish& finish, int64_t j, int64_t columns, const vf* tile,
                              int vectors) {
  const Place c{op.c + j * op.c_column, 0, op.c_column, 1, columns}, partial{waiting(op, j), 0, 1, 1, vectors * kWidth};
  const Way way{op.from_partial ? partial : c, op.to_partial ? partial : c, op.first, op.last};
  finish.tile(op, way, op.bias ? op.bias + (op.bias_by_row ? 0 : j) : nullptr, tile, vectors);
}

/// One row has only its columns to fill the FMA pipes with: Vectors at a time, halving for the tail.
template <int Vectors>
ENGINE_INLINE void gemm_row(const Gemm& op, const Finish& finish, const float* b, int64_t j, int64_t columns) {
  for (; columns > (Vectors - 1) * kWidth; columns -= Vectors * kWidth, j += Vectors * kWidth, b += Vectors * kWidth) {
    vf tile[1][Vectors];
    chain(tile, ByColumns{op.a, op.a_next}, b, op.b_row, 0, op.k);
    finish_row(op, finish, j, columns < Vectors * kWidth ? columns : Vectors * kWidth, tile[0], Vectors);
  }
  if constexpr (Vectors > 1) {
    if (columns > 0) gemm_row<Vectors / 2>(op, finish, b, j, columns);
  }
}

ENGINE_INLINE void gemm_rows(const Gemm& op, const Finish& finish) {
  for (int64_t j = 0; j < op.columns; j += kSingleRowColumns) {
    const int64_t left = op.columns - j;
    gemm_row<kSingleRowVectors>(op, finish, op.b + j * op.b_column, j,
                                left < kSingleRowColumns ? left : kSingleRowColumns);
  }
}

ENGINE_INLINE void gemm_row_across(const Gemm& op, const Finish& finish) {
  constexpr int kVectors = 2;
  for (int64_t j = 0; j < op.columns; j += kVectors * kWidth) {
    const int64_t columns = op.columns - j < kVectors * kWidth ? op.columns - j : kVectors * kWidth;
    vf tile[kVectors];
    chain_across(tile, op, op.b + j * op.b_column, columns);
    finish_row(op, finish, j, columns, tile, kVectors);
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

template <int Rows, class F>
ENGINE_INLINE void gemm_panels(const Gemm& op, const Finish& finish, F&& a) {
  for (int64_t j = 0; j < op.columns; j += kPanelColumns) {
    const int64_t columns = op.columns - j < kPanelColumns ? op.columns - j : kPanelColumns;
    const float* b = op.b + j * op.b_column;
    if (columns > kWidth) {
      gemm_panel<Rows, kTileVectors>(op, finish, b, j, columns, a);
    } else {
      gemm_panel<Rows, 1>(op, finish, b, j, columns, a);
    }
  }
}

__attribute__((noinline)) void multiply(const Gemm& op, const Finish& finish) {
  if (op.b_across) {
    gemm_row_across(op, finish);
  } else if (op.panel == kSingleRowColumns) {
    gemm_rows(op, finish);
  } else if (op.a_packed) {
    gemm_panels<kPanelRows>(op, finish, [&](int64_t i) { return ByTiles{op.a + i * op.k}; });
  } else if (op.a_next == 1) {
    gemm_panels<kTileRows>(op, finish, [&](int64_t i) { return ByRows{op.a + i * op.a_row, op.a_row}; });
  } else {
    gemm_panels<kTileRows>(op, finish, [&](int64_t i) { return ByColumns{op.a + i, op.a_next}; });
  }
}

template <class Act>
void gemm(const Gemm& op) {
  multiply(op, {finish<Act>, Act::kKind != Activation::kLinear});
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
