// Sums, products and extremes of runs of numbers, and of rows of columns. All have fixed orders: a run is combined in
// kLineFloats lanes, which are combined in a tree, and runs of more than kReducedRun numbers piece by piece; rows are
// combined one after the other.
#pragma once
#include "formulas/reductions.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Rows that are reduced at a time: enough independent operations to hide their latency, as far as there are registers.
constexpr int kReducedRows = kVectorsPerLine > 2 ? 1 : 4;

/// y (Rows,) = up to kReducedRun numbers of each row: number j is in lane j mod kLineFloats.
template <class Kind, int Rows>
ENGINE_INLINE void reduce_pieces(const float* x, int64_t row, int64_t n, float* y) {
  const vf neutral = broadcast(Kind::kNeutral);
  vf lanes[Rows][kVectorsPerLine];
  const auto for_lanes = [](auto&& f) {
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (int p = 0; p < kVectorsPerLine; ++p) f(r, p);
    }
  };
  for_lanes([&](int r, int p) { lanes[r][p] = neutral; });
  int64_t j = 0;
  for (; j + kLineFloats <= n; j += kLineFloats) {
    for_lanes([&](int r, int p) { lanes[r][p] = Kind::combine(lanes[r][p], load(x + r * row + j + p * kWidth)); });
  }
  for_lanes([&](int r, int p) {
    const float* at = x + r * row + j + p * kWidth;
    const int64_t left = n - j - p * kWidth;
    if (left <= 0) return;
    const vf v = left >= kWidth ? load(at) : masked(load_partial(at, left), 0, left, neutral);
    lanes[r][p] = Kind::combine(lanes[r][p], v);
  });
#pragma GCC unroll 4
  for (int half = kVectorsPerLine / 2; half > 0; half /= 2) {
    for_lanes([&](int r, int p) {
      if (p < half) lanes[r][p] = Kind::combine(lanes[r][p], lanes[r][(p + half) % kVectorsPerLine]);
    });
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) y[r] = fold(lanes[r][0], [](vf a, vf b) { return Kind::combine(a, b); });
}

/// The same for any number of rows.
template <class Kind>
ENGINE_INLINE void reduce_piece_of_rows(const float* x, int64_t row, int64_t rows, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + kReducedRows <= rows; i += kReducedRows) reduce_pieces<Kind, kReducedRows>(x + i * row, row, n, y + i);
  for (; i < rows; ++i) reduce_pieces<Kind, 1>(x + i * row, row, n, y + i);
}

template <class Kind>
void reduce_rows(const ReduceRowsArgs& op) {
  if (op.n <= kReducedRun) return reduce_piece_of_rows<Kind>(op.x, op.row, op.rows, op.n, op.y);
  constexpr int64_t kPieces = 4 * kReducedRows;  // of a long row, which are reduced as rows are
  const int64_t whole = op.n / kReducedRun;
  for (int64_t i = 0; i < op.rows; ++i) {
    const float* x = op.x + i * op.row;
    float pieces[kPieces], total = 0.0f;
    const auto combine = [&](int64_t first, int64_t count) {
      for (int64_t j = 0; j < count; ++j) total = first + j == 0 ? pieces[0] : Kind::combine(total, pieces[j]);
    };
    for (int64_t j = 0; j < whole; j += kPieces) {
      const int64_t count = whole - j < kPieces ? whole - j : kPieces;
      reduce_piece_of_rows<Kind>(x + j * kReducedRun, kReducedRun, count, kReducedRun, pieces);
      combine(j, count);
    }
    if (const int64_t left = op.n % kReducedRun) {
      reduce_pieces<Kind, 1>(x + whole * kReducedRun, 0, left, pieces);
      combine(whole, 1);
    }
    op.y[i] = total;
  }
}

/// The first of n numbers that equals `number`, or that is NaN if `number` is; n if there is none.
int64_t first_equal(const float* x, int64_t n, float number) {
  const vf wanted = broadcast(number);
  const vi finds_nan = wanted != wanted;
  for (int64_t j = 0; j < n; j += kWidth) {
    const int64_t left = n - j;
    const vf v = left >= kWidth ? load(x + j) : load_partial(x + j, left);
    const uint32_t found = lane_bits((v == wanted) | ((v != v) & finds_nan));
    // Behind the last number are zeros, which may equal it.
    if (found && __builtin_ctz(found) < left) return j + __builtin_ctz(found);
  }
  return n;
}

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
  for (; j + kWidth <= op.columns; j += kWidth) {
    vf sum = load(op.y + j);
    for (int64_t i = 0; i < op.rows; ++i) sum = Kind::combine(sum, load(op.x + i * op.row + j));
    store(op.y + j, sum);
  }
  const int64_t left = op.columns - j;
  if (left == 0) return;
  vf sum = load_partial(op.y + j, left);
  for (int64_t i = 0; i < op.rows; ++i) sum = Kind::combine(sum, load_partial(op.x + i * op.row + j, left));
  store_partial(op.y + j, sum, left);
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
