// Numbers of a row put elsewhere: transposed, repeated, dropped.
#pragma once
#include "kernels/layer_table.h"
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

void take(const Take& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* x = op.x + b * op.ldx;
    float* y = op.y + b * op.ldy;
    for (int64_t j = 0; j < op.count; ++j) y[j] = op.from[j] < 0 ? 0.0f : x[op.from[j]];
  }
}

/// What has gone to several places gets the sum of their gradients, in the order of the places.
void take_backward(const Take& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* dy = op.x + b * op.ldx;
    float* dx = op.y + b * op.ldy;
    std::memset(dx, 0, static_cast<size_t>(op.columns) * sizeof(float));
    for (int64_t j = 0; j < op.count; ++j) {
      if (op.from[j] >= 0) dx[op.from[j]] += dy[j];
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
