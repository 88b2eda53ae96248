// Rows brought to a common scale, each by its own numbers.
#pragma once
#include "kernels/layer_table.h"
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

/// y = factor (x - mean of x if centred): factor 1 / sqrt(mean(square) + epsilon), or by the root of the sum of squares
/// but at most 1 / epsilon. `factors` (rows, 2) get it, and what the projection on y is weighed by in the gradient.
void standardize_rows(const StandardizeRows& op) {
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

/// dx = factor (dy - mean(dy) if centred - y projection sum(dy y)), with x = dy, y = dx and y in `saved`; in place
void standardize_rows_backward(const StandardizeRows& op) {
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
