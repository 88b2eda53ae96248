// Penalties of weights and of outputs. The orthogonality penalty (Keras' OrthogonalRegularizer) is the sum of |u_i .
// u_j| over i != j, where u_i is row or column i of the weights divided by its norm. The penalty on outputs is l1 |x| +
// l2 x^2.
#pragma once
#include "kernels/sums.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr float kSmallestNorm = 1e-7f;  // Keras' `backend.epsilon()`

/// The dot product of two padded rows; element j is added to lane j mod kLane.
inline float product_of(const float* a, const float* b, int64_t n) {
  return sum_of_row(n, [&](int64_t j, vf sum) { return fma(load(a + j), load(b + j), sum); });
}

/// out (i, ...) = row or column i of the weights divided by its norm, and these norms.
void normalize_rows(const NormalizeRows& op) {
  const int64_t width = op.of_columns ? op.rows : op.columns;
  const Panels panels(op.rows, op.columns);
  const auto at = [&](int64_t i, int64_t j) {
    const Panel panel = panels.of(j);
    return op.weights[panel.offset + i * panel.width + (j - panel.first)];
  };
  for (int64_t i = op.range.begin; i < op.range.end; ++i) {
    float* row = op.out + i * op.ld;
    for (int64_t j = 0; j < width; ++j) row[j] = op.of_columns ? at(j, i) : at(i, j);
    const float norm = __builtin_sqrtf(product_of(row, row, width));
    op.norms[i] = norm < kSmallestNorm ? kSmallestNorm : norm;
    for (int64_t j = 0; j < width; ++j) row[j] = row[j] / op.norms[i];
  }
}

/// sums[i] = sum over j of |u_i . u_j|, and the gradient with respect to row i of the weights: with
/// s = sum over j of sign(u_i . u_j) u_j, 2 factor (s - (s . u_i) u_i) / norm_i.
void orthogonality_penalty(const OrthogonalityPenalty& op) {
  const vf scale = broadcast(static_cast<float>(2.0 * op.factor));
  for (int64_t i = op.range.begin; i < op.range.end; ++i) {
    const float* row = op.rows + i * op.ld;
    float* gradient = op.gradients ? op.gradients + i * op.ld : nullptr;
    if (gradient) for_vectors(op.width, [&](int64_t at, int) { store(gradient + at, vf{}); });
    float sum = 0.0f;
    for (int64_t j = 0; j < op.size; ++j) {
      if (j == i) continue;
      const float* other = op.rows + j * op.ld;
      const float product = product_of(row, other, op.width);
      sum += product < 0.0f ? -product : product;
      if (!gradient) continue;
      const vf sign = broadcast(product < 0.0f ? -1.0f : 1.0f);
      for_vectors(op.width,
                  [&](int64_t at, int) { store(gradient + at, fma(sign, load(other + at), load(gradient + at))); });
    }
    op.sums[i] = sum;
    if (!gradient) continue;
    const vf along = broadcast(-product_of(gradient, row, op.width)), norm = broadcast(op.norms[i]);
    for_vectors(op.width, [&](int64_t at, int) {
      store(gradient + at, scale * fma(along, load(row + at), load(gradient + at)) / norm);
    });
  }
}

/// Sums of l1 |x| + l2 x^2 over each row.
void row_penalties(const RowPenalties& op) {
  const vf l1 = broadcast(static_cast<float>(op.l1)), l2 = broadcast(static_cast<float>(op.l2));
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* row = op.x + b * op.ld;
    op.sums[b] = sum_of_row(op.n, [&](int64_t j, vf sum) {
      const vf x = masked(load(row + j), j, op.n, vf{});
      return sum + fma(l2 * x, x, l1 * abs(x));
    });
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
