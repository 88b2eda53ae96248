// Pooling over the rows of a sample, such as its timesteps: masked or weighted means, maxima, and their gradients; and
// the mask of timesteps that means are taken over.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// factors (rows, count): 1 for each timestep that holds anything but `value` alone, else 0. With `normalizes` they are
/// divided by their sum, unless that is 0.
void timestep_mask(const TimestepMaskArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    float* factors = op.factors + b * op.ld;
    int64_t counted = 0;
    for (int64_t i = 0; i < op.count; ++i) {
      const float* x = op.x + b * op.ldx + i * op.stride;
      int64_t j = 0;
      while (j < op.n && x[j] == op.value) ++j;
      factors[i] = j < op.n ? 1.0f : 0.0f;
      counted += j < op.n;
    }
    if (!op.normalizes || counted == 0) continue;
    for (int64_t i = 0; i < op.count; ++i) factors[i] /= static_cast<float>(counted);
  }
}

/// y (rows, n) = sum over i of factors[i] x[i], with x (rows, count, n). Terms are added in order.
void sum_timesteps(const WeightTimestepsArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* x = op.x + b * op.ldx;
    for (int64_t j = 0; j < op.n; j += kWidth) {
      vf sum{};
      for (int64_t i = 0; i < op.count; ++i) {
        const float factor = op.factors ? op.factors[b * op.ld_factors + i] : op.scale;
        sum = fma(load(x + i * op.stride_x + j), broadcast(factor), sum);
      }
      store(op.y + b * op.ldy + j, sum);
    }
  }
}

/// y[i] = factors[i] x[i], with x and y (rows, count, n): the mask applied, or the gradient of a mean.
void weight_timesteps(const WeightTimestepsArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    for (int64_t i = 0; i < op.count; ++i) {
      const float factor = op.factors ? op.factors[b * op.ld_factors + i] : op.scale;
      const float* x = op.x + b * op.ldx + i * op.stride_x;
      float* y = op.y + b * op.ldy + i * op.stride_y;
      for (int64_t j = 0; j < op.n; j += kWidth) store(y + j, load(x + j) * factor);
    }
  }
}

/// y (rows, n) = the largest of x (rows, count, n) over the timesteps. A NaN among them gives a NaN.
void max_timesteps(const MaxTimestepsArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const float* x = op.x + b * op.count * op.ldx;
    for (int64_t j = 0; j < op.n; j += kWidth) {
      vf most = load(x + j);
      for (int64_t i = 1; i < op.count; ++i) {
        const vf next = load(x + i * op.ldx + j);
        most = next <= most ? most : most == most ? next : most;
      }
      store(op.y + b * op.ldy + j, most);
    }
  }
}

/// dx = dy for the timestep that had the maximum, shared equally by those that are equal to it; 0 elsewhere.
void max_timesteps_backward(const MaxTimestepsArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    for (int64_t j = 0; j < op.n; j += kWidth) {
      const vf most = load(op.y + b * op.ldy + j);
      const auto is_most = [&](int64_t i) { return load(op.x + (b * op.count + i) * op.ldx + j) == most; };
      vf count{};
      for (int64_t i = 0; i < op.count; ++i) count = count + (is_most(i) ? broadcast(1.0f) : vf{});
      const vf share = load(op.dy + b * op.ldy + j) / count;
      for (int64_t i = 0; i < op.count; ++i) {
        store(op.dx + (b * op.count + i) * op.ldx + j, is_most(i) ? share : vf{});
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
