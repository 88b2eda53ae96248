// Layers that copy columns of a row to other places: reshapes that permute, repeat, crop or pad with zeros.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// y[j] = x[indices[j]] for each row, or 0 where indices[j] is negative.
void select_columns(const SelectColumns& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* x = op.x + b * op.ldx;
    float* y = op.y + b * op.ldy;
    for (int64_t j = 0; j < op.count; ++j) y[j] = op.indices[j] < 0 ? 0.0f : x[op.indices[j]];
  }
}

/// dx[i] = the sum of dy[j] over all j with indices[j] = i, in the order of j.
void select_columns_backward(const SelectColumns& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* dy = op.x + b * op.ldx;
    float* dx = op.y + b * op.ldy;
    std::memset(dx, 0, static_cast<size_t>(op.columns) * sizeof(float));
    for (int64_t j = 0; j < op.count; ++j) {
      if (op.indices[j] >= 0) dx[op.indices[j]] += dy[j];
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
