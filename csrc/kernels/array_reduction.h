// Sums, products and extremes of runs of numbers, and of rows of columns. All have fixed orders: a run is combined in
// kLineFloats lanes, which are combined in a tree, and runs of more than kReducedRun numbers piece by piece; rows are
// combined one after the other.
#pragma once
#include "formulas/reductions.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Up to kReducedRun numbers: number j is in lane j mod kLineFloats.
template <class Kind>
ENGINE_INLINE float reduce_piece(const float* x, int64_t n) {
  const vf neutral = broadcast(Kind::kNeutral);
  vf lanes[kVectorsPerLine];
#pragma GCC unroll kUnrolled
  for (int p = 0; p < kVectorsPerLine; ++p) lanes[p] = neutral;
  int64_t j = 0;
  for (; j + kLineFloats <= n; j += kLineFloats) {
#pragma GCC unroll kUnrolled
    for (int p = 0; p < kVectorsPerLine; ++p) lanes[p] = Kind::combine(lanes[p], load(x + j + p * kWidth));
  }
  for (int p = 0; j < n; j += kWidth, ++p) {
    const int64_t left = n - j;
    const vf v = left >= kWidth ? load(x + j) : masked(load_partial(x + j, left), 0, left, neutral);
    lanes[p] = Kind::combine(lanes[p], v);
  }
#pragma GCC unroll kUnrolled
  for (int half = kVectorsPerLine / 2; half > 0; half /= 2) {
#pragma GCC unroll kUnrolled
    for (int p = 0; p < half; ++p) lanes[p] = Kind::combine(lanes[p], lanes[p + half]);
  }
  return fold(lanes[0], [](vf a, vf b) { return Kind::combine(a, b); });
}

template <class Kind>
void reduce_rows(const ReduceRowsArgs& op) {
  for (int64_t i = 0; i < op.rows; ++i) {
    const float* x = op.x + i * op.row;
    float total = reduce_piece<Kind>(x, op.n < kReducedRun ? op.n : kReducedRun);
    for (int64_t j = kReducedRun; j < op.n; j += kReducedRun) {
      const int64_t left = op.n - j;
      const float piece = reduce_piece<Kind>(x + j, left < kReducedRun ? left : kReducedRun);
      total = Kind::combine(total, piece);
    }
    op.y[i] = total;
  }
}

/// Whole vectors of columns: what lies behind the last column is combined, too, and left alone by the caller.
template <class Kind>
void combine_rows(const CombineRowsArgs& op) {
  int64_t j = 0;
  for (; j + 4 * kWidth <= op.columns; j += 4 * kWidth) {
    vf sums[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sums[v] = load(op.y + j + v * kWidth);
    for (int64_t i = 0; i < op.rows; ++i) {
      const float* x = op.x + i * op.row + j;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[v] = Kind::combine(sums[v], load(x + v * kWidth));
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) store(op.y + j + v * kWidth, sums[v]);
  }
  for (; j < op.columns; j += kWidth) {
    vf sum = load(op.y + j);
    for (int64_t i = 0; i < op.rows; ++i) sum = Kind::combine(sum, load(op.x + i * op.row + j));
    store(op.y + j, sum);
  }
}

/// The first row that holds the largest number (or smallest, for its negative) of each column; NaN is larger than all.
void extreme_rows(const ExtremeRowsArgs& op) {
  const vi sign = bits(broadcast(op.smallest ? -0.0f : 0.0f));
  for (int64_t j = 0; j < op.columns; j += kWidth) {
    vf most = from_bits(bits(load(op.x + j)) ^ sign);
    vf at{};
    for (int64_t i = 1; i < op.rows; ++i) {
      const vf v = from_bits(bits(load(op.x + i * op.row + j)) ^ sign);
      const vi larger = (v > most) | ((v != v) & (most == most));
      most = choose(larger, v, most);
      at = choose(larger, broadcast(static_cast<float>(i)), at);
    }
    store(op.y + j, at);
  }
}

/// Running sums: sums[j] += x[i,j], y[i,j] = sums[j] for one row after the other.
void accumulate_rows(const AccumulateRowsArgs& op) {
  for (int64_t j = 0; j < op.columns; j += kWidth) {
    vf sum{};
    const int64_t left = op.columns - j;
    for (int64_t i = 0; i < op.rows; ++i) {
      sum = sum + load(op.x + i * op.x_row + j);
      if (left >= kWidth) {
        store(op.y + i * op.y_row + j, sum);
      } else {
        store_partial(op.y + i * op.y_row + j, sum, left);
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
