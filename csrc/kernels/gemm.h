// The general product of ops.matmul: blocks of it from packed or plain operands, and the dot product.
#pragma once
#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/pack.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// A in panels of kTileRows rows, column after column.
struct ByTiles {
  const float* a;
  ENGINE_INLINE ColumnCursor cursor(int64_t p) const { return {a + p * kTileRows, kTileRows}; }
  ENGINE_INLINE int64_t run(int64_t, int64_t end) const { return end; }
};

constexpr int64_t kPanelColumns = kTileVectors * kWidth;
constexpr int64_t kSingleRowColumns = kSingleRowVectors * kWidth;

/// tile (rows, Vectors * kWidth) = A (rows, k) B (k, Vectors * kWidth) for 1 <= rows <= Rows
template <int Rows, int Vectors, class A>
ENGINE_INLINE void product(int64_t rows, vf* tile, const A& a, const float* b, int64_t ldb, int64_t k) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return product<Rows - 1, Vectors>(rows, tile, a, b, ldb, k);
  }
  chain(reinterpret_cast<vf(&)[Rows][Vectors]>(*tile), a, b, ldb, 0, k);
}

/// A tile of c; one that is whole and has contiguous rows needs no care at its edge.
struct Place {
  float* c;
  int64_t row, column;  // strides
  int64_t rows, columns;
};

/// c = f(tile) (rows, Vectors * kWidth), or c = f(c + tile); f(sum, i, v) gets row and vector of the tile.
template <int Vectors, bool Adds, class F>
ENGINE_INLINE void store_tile(const Place& place, const vf* tile, F&& f) {
  float* c = place.c;
  if (place.column == 1 && place.columns == Vectors * kWidth) {
    for (int64_t i = 0; i < place.rows; ++i, tile += Vectors, c += place.row) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        const vf sum = Adds ? load(c + v * kWidth) + tile[v] : tile[v];
        store(c + v * kWidth, f(sum, i, v));
      }
    }
    return;
  }
  for (int64_t i = 0; i < place.rows; ++i, tile += Vectors, c += place.row) {
    for (int v = 0; v < Vectors; ++v) {
      const int64_t left = place.columns - v * kWidth, count = left < kWidth ? left : kWidth;
      float* to = c + v * kWidth * place.column;
      vf old{};
      if constexpr (Adds) {
        for (int64_t l = 0; l < count; ++l) old[l] = to[l * place.column];
      }
      const vf sum = f(Adds ? old + tile[v] : tile[v], i, v);
      for (int64_t l = 0; l < count; ++l) to[l * place.column] = sum[l];
    }
  }
}

/// Adds the chains of this block of k to the sum of those before; after the last, bias and activation. Not inlined:
/// every shape of tile shares it.
template <class Act, int Vectors>
__attribute__((noinline)) void finish(const Gemm& op, const Place& place, const float* bias, const vf* tile) {
  const auto keep = [](vf sum, int64_t, int) { return sum; };
  if (!op.last) {
    return op.first ? store_tile<Vectors, false>(place, tile, keep) : store_tile<Vectors, true>(place, tile, keep);
  }
  vf by_column[Vectors] = {};
  if (bias && !op.bias_by_row) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const int64_t left = place.columns - v * kWidth;
      if (left > 0) by_column[v] = left < kWidth ? load_part(bias + v * kWidth, left) : load(bias + v * kWidth);
    }
  }
  const float* by_row = bias && op.bias_by_row ? bias : nullptr;
  const auto activate = [&](vf sum, int64_t i, int v) {
    return Act::forward((sum + 0.0f) + (by_row ? broadcast(by_row[i]) : by_column[v]));
  };
  if (op.first) {
    store_tile<Vectors, false>(place, tile, activate);
  } else {
    store_tile<Vectors, true>(place, tile, activate);
  }
}

template <class Act, class A>
ENGINE_INLINE void gemm_tile(const Gemm& op, const A& a, const float* b, int64_t i, int64_t j, int64_t rows,
                             int64_t columns) {
  vf tile[kTileRows * kTileVectors];
  float* c = op.c + i * op.c_row + j * op.c_column;
  for (int64_t r = 0; r < rows; ++r) __builtin_prefetch(c + r * op.c_row, 1);
  const float* bias = op.bias ? op.bias + (op.bias_by_row ? i : j) : nullptr;
  const Place place{c, op.c_row, op.c_column, rows, columns};
  if (columns > kWidth) {
    product<kTileRows, kTileVectors>(rows, tile, a, b, op.b_row, op.k);
    finish<Act, kTileVectors>(op, place, bias, tile);
  } else {
    product<kTileRows, 1>(rows, tile, a, b, op.b_row, op.k);
    finish<Act, 1>(op, place, bias, tile);
  }
}

/// One row has only its columns to fill the FMA pipes with: Vectors at a time, halving for the tail.
template <class Act, int Vectors>
ENGINE_INLINE void gemm_row(const Gemm& op, const float* b, int64_t j, int64_t columns) {
  for (; columns > (Vectors - 1) * kWidth; columns -= Vectors * kWidth, j += Vectors * kWidth, b += Vectors * kWidth) {
    vf tile[Vectors];
    product<1, Vectors>(1, tile, ByColumns{op.a, op.a_next}, b, op.b_row, op.k);
    const float* bias = op.bias ? op.bias + (op.bias_by_row ? 0 : j) : nullptr;
    const int64_t count = columns < Vectors * kWidth ? columns : Vectors * kWidth;
    finish<Act, Vectors>(op, {op.c + j * op.c_column, op.c_row, op.c_column, 1, count}, bias, tile);
  }
  if constexpr (Vectors > 1) {
    if (columns > 0) gemm_row<Act, Vectors / 2>(op, b, j, columns);
  }
}

/// A panel of b stays in the L1 cache while the rows of a go by.
template <class Act>
void gemm(const Gemm& op) {
  if (op.panel == kSingleRowColumns) {
    for (int64_t j = 0; j < op.columns; j += kSingleRowColumns) {
      const int64_t left = op.columns - j;
      gemm_row<Act, kSingleRowVectors>(op, op.b + j * op.b_column, j,
                                       left < kSingleRowColumns ? left : kSingleRowColumns);
    }
    return;
  }
  for (int64_t j = 0; j < op.columns; j += kPanelColumns) {
    const int64_t columns = op.columns - j < kPanelColumns ? op.columns - j : kPanelColumns;
    const float* b = op.b + j * op.b_column;
    for (int64_t i = 0; i < op.rows; i += kTileRows) {
      const int64_t rows = op.rows - i < kTileRows ? op.rows - i : kTileRows;
      if (op.a_packed) {
        gemm_tile<Act>(op, ByTiles{op.a + i * op.k}, b, i, j, rows, columns);
      } else if (op.a_next == 1) {
        gemm_tile<Act>(op, ByRows{op.a + i * op.a_row, op.a_row}, b, i, j, rows, columns);
      } else {
        gemm_tile<Act>(op, ByColumns{op.a + i, op.a_next}, b, i, j, rows, columns);
      }
    }
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
