// What weights are made to be after a step, in Keras' formulas.
#pragma once
#include "kernels/sums.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr double kNormEpsilon = 1e-7;  // Keras' `backend.epsilon()`

void non_negative(const WeightBlock& op) {
  for (int64_t i = op.rows.begin; i < op.rows.end; ++i) {
    for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
      const vf w = load(op.weights + i * op.ld + j);
      store(op.weights + i * op.ld + j, w < 0.0f ? vf{} : w);
    }
  }
}

/// What to multiply by for the norm to be `rate clip(norm, low, high) + (1 - rate) norm`.
inline float norm_factor(double squares, const NormLimits& limits) {
  const double norm = __builtin_sqrt(squares);
  const double clipped = norm < limits.low ? limits.low : norm > limits.high ? limits.high : norm;
  return static_cast<float>((limits.rate * clipped + (1.0 - limits.rate) * norm) / (kNormEpsilon + norm));
}

void column_norms(const WeightBlock& op, const NormLimits& limits) {
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    vf squares{};
    for (int64_t begin = op.rows.begin; begin < op.rows.end; begin += kChain) {
      const int64_t end = op.rows.end < begin + kChain ? op.rows.end : begin + kChain;
      vf sum{};
      for (int64_t i = begin; i < end; ++i) {
        const vf w = load(op.weights + i * op.ld + j);
        sum = fma(w, w, sum);
      }
      squares = squares + sum;
    }
    vf factor;
    for (int l = 0; l < kWidth; ++l) factor[l] = norm_factor(static_cast<double>(squares[l]), limits);
    for (int64_t i = op.rows.begin; i < op.rows.end; ++i) {
      float* at = op.weights + i * op.ld + j;
      store(at, load(at) * factor);
    }
  }
}

void row_norms(const RowNorms& op) {
  double squares = 0.0;
  for (int64_t i = op.range.begin; op.together && i < op.range.end; ++i) {
    squares += row_squares(op.weights, op.rows, op.n, i);
  }
  for (int64_t i = op.range.begin; i < op.range.end; ++i) {
    if (!op.together) squares = row_squares(op.weights, op.rows, op.n, i);
    const vf factor = broadcast(norm_factor(squares, op.limits));
    for_row(op.weights, op.rows, op.n, i, [&](float* at, int64_t) { store(at, load(at) * factor); });
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
