// Normalization of each row by its own numbers: layer normalization, RMS normalization and unit norm.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// y = factor d with d = x - mean(x) where `centred`, else x. The factor is 1 / sqrt(mean(d^2) + epsilon), or with
/// `unit` 1 / max(sqrt(sum(d^2)), epsilon). Stores to `factors` (rows, 2) the factor, and the weight of the projection
/// on y in the gradient: 1 / n, or with `unit` 1, or 0 where the norm was replaced by epsilon.
void standardize_rows(const StandardizeRowsArgs& op) {
  const float n = static_cast<float>(op.n);
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* x = op.x + b * op.ld;
    float* y = op.y + b * op.ld;
    float mean = 0.0f;
    if (op.centred) mean = row_sum(op.n, [&](int64_t j) { return load(x + j); }) / n;
    const float squares = sum_of_row(op.n, [&](int64_t j, vf sum) {
      const vf d = masked(load(x + j) - mean, j, op.n, vf{});
      return fma(d, d, sum);
    });
    float factor, projection = 1.0f / n;
    if (op.unit) {
      const float root = __builtin_sqrtf(squares);
      projection = root > op.epsilon ? 1.0f : 0.0f;
      factor = 1.0f / (root > op.epsilon ? root : op.epsilon);
    } else {
      factor = 1.0f / __builtin_sqrtf(squares / n + op.epsilon);
    }
    op.factors[b * op.ld_factors] = factor;
    op.factors[b * op.ld_factors + 1] = projection;
    for_vectors(op.n, [&](int64_t j, int) { store(y + j, masked((load(x + j) - mean) * factor, j, op.n, vf{})); });
  }
}

/// dx = factor (dy - m - y projection sum(dy y)), with m = mean(dy) where `centred`, else 0. The arguments hold dy in
/// `x`, dx in `y` (which may be the same memory) and y in `saved`.
void standardize_rows_backward(const StandardizeRowsArgs& op) {
  const float n = static_cast<float>(op.n);
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float *dy = op.x + b * op.ld, *y = op.saved + b * op.ld;
    float* dx = op.y + b * op.ld;
    const float factor = op.factors[b * op.ld_factors], projection = op.factors[b * op.ld_factors + 1];
    float mean = 0.0f;
    if (op.centred) mean = row_sum(op.n, [&](int64_t j) { return load(dy + j); }) / n;
    const float slope = projection * sum_of_row(op.n, [&](int64_t j, vf sum) {
                          return fma(masked(load(dy + j), j, op.n, vf{}), masked(load(y + j), j, op.n, vf{}), sum);
                        });
    for_vectors(op.n, [&](int64_t j, int) {
      store(dx + j, factor * fma(broadcast(-slope), load(y + j), load(dy + j) - mean));
    });
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
