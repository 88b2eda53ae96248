// Products with a kernel of a few columns. In vectors that run along its rows most lanes are pads, so that samples are
// in the lanes, and inputs in those of the gradient (weights.h): the same terms in the same order as in tiles, the same
// bits.
#pragma once
#include "kernels/slices.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// Samples from which on there is a vector to fill.
constexpr int64_t kFewestSamples = kWidth / 2;

inline bool has_few_columns(const DenseForward& op) {
  return op.in_slices && op.n <= kFewColumns && op.rows.end - op.rows.begin >= kFewestSamples;
}

/// sums[c] += the terms of one slice, inputs [begin, end), for column c of the kernel, with kWidth samples in the
/// lanes.
template <class Row>
ENGINE_INLINE void add_slice(PairwiseSum<1, 1> (&sums)[kFewColumns], const DenseForward& op, int64_t begin, int64_t end,
                             Row&& row) {
  vf totals[kFewColumns] = {};
  for (int64_t p = begin; p < end; p += kWidth) {
    const int64_t count = end - p < kWidth ? end - p : kWidth;
    vf inputs[kWidth];
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) inputs[i] = count == kWidth ? load(row(i) + p) : load_part(row(i) + p, count);
    transpose_square(inputs);
    for (int64_t c = 0; c < op.n; ++c) {
      const float* w = op.kernel + p * op.ldw + c;
      vf sum = totals[c];
      if (count == kWidth) {
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) sum = fma(inputs[i], broadcast(w[i * op.ldw]), sum);
      } else {
        for (int i = 0; i < count; ++i) sum = fma(inputs[i], broadcast(w[i * op.ldw]), sum);
      }
      totals[c] = sum;
    }
  }
  for (int64_t c = 0; c < op.n; ++c) {
    vf tile[1][1] = {{totals[c]}};
    if (begin == 0 && op.bias) tile[0][0] = tile[0][0] + broadcast(op.bias[c]);
    sums[c].add(tile, 0);
  }
}

/// epilogue(row, column, sums, distance of rows of sums, rows, vectors)
template <class Epilogue>
__attribute__((noinline)) void multiply_few_columns(const DenseForward& op, Epilogue&& epilogue) {
  for (int64_t i = op.rows.begin; i < op.rows.end; i += kWidth) {
    const int64_t rows = op.rows.end - i < kWidth ? op.rows.end - i : kWidth;
    PairwiseSum<1, 1> sums[kFewColumns];
    for (int64_t p = 0; p < op.k; p += kSlice) {
      add_slice(sums, op, p, op.k < p + kSlice ? op.k : p + kSlice, [&](int64_t r) {
        const int64_t b = i + (r < rows ? r : rows - 1);
        return op.x_rows ? op.x_rows[b] : op.x + b * op.ldx;
      });
    }
    alignas(64) float tile[kWidth][kLane] = {};
    for (int64_t c = 0; c < op.n; ++c) {
      vf total[1][1];
      sums[c].total(total);
      for (int r = 0; r < kWidth; ++r) tile[r][c] = total[0][0][r];
    }
    epilogue(i, int64_t{0}, tile[0], kLane, rows, kParts);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
