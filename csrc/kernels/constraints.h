// Constraints of weights, which are applied after each step: nonnegative weights, and limits of the norms of columns,
// rows or the whole matrix, in Keras' formulas.
#pragma once
#include "formulas/weight_scales.h"
#include "kernels/blocks.h"
#include "kernels/sums.h"

namespace engine::ENGINE_ISA {
namespace {

void non_negative(const WeightBlock& op) {
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) {
    const vf w = load(op.weights + at);
    store(op.weights + at, w < 0.0f ? vf{} : w);
  });
}

void column_norms(const WeightBlock& op, const NormLimits& limits) {
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    const vf squares =
        sum_of_rows(op.rows, [&](int64_t i, vf sum) { return Square::add(sum, load(op.weights + i * op.ld + j)); });
    vf factor;
    for (int l = 0; l < kWidth; ++l) factor[l] = formulas::constraint_factor(static_cast<double>(squares[l]), limits);
    for (int64_t i = op.rows.begin; i < op.rows.end; ++i) {
      float* at = op.weights + i * op.ld + j;
      store(at, load(at) * factor);
    }
  }
}

void row_norms(const RowNormsArgs& op) {
  double squares = 0.0;
  for (int64_t i = op.range.begin; op.whole_matrix && i < op.range.end; ++i) {
    squares += row_squares(op.weights, op.rows, op.n, i);
  }
  for (int64_t i = op.range.begin; i < op.range.end; ++i) {
    if (!op.whole_matrix) squares = row_squares(op.weights, op.rows, op.n, i);
    const vf factor = broadcast(formulas::constraint_factor(squares, op.limits));
    for_row(op.weights, op.rows, op.n, i, [&](float* at, int64_t) { store(at, load(at) * factor); });
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
