// A dense layer's gradient by its input.
#pragma once
#include "kernels/lane_gradient.h"
#include "kernels/microtile.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// Units whose gradients are summed together: one chain of dz (32 KiB, AVX-512) then serves them all from the L1 cache,
/// and their rows of the kernel wait in the L2 cache.
constexpr int64_t kMostUnits = 64;

/// Turns sums (kLane units, kWidth samples), `stride` vectors apart, and stores them as rows of dx.
template <class Act>
void store_turned(const DenseBackwardInput& op, const vf* sums, int64_t stride, int64_t b, int64_t i) {
  const int64_t count = op.rows - b < kWidth ? op.rows - b : kWidth;
#pragma GCC unroll 4
  for (int part = 0; part < kParts; ++part) {
    vf square[kWidth];
#pragma GCC unroll 16
    for (int u = 0; u < kWidth; ++u) square[u] = sums[(part * kWidth + u) * stride] + 0.0f;
    transpose_square(square);
    vf rows[kWidth];
    std::memcpy(rows, square, sizeof rows);
    for (int64_t c = 0; c < count; ++c) {
      store_gradient<Act>(op, (b + c) * op.ldx + i + part * kWidth, rows[c]);
    }
  }
}

/// Tiles are of dx^T: units down, the batch across, so that the vectors run over the batch and no transposed copy of
/// the kernel is needed. kLane units at a time are turned as they are stored. Not inlined, nor is backward_few: all
/// activations share it.
__attribute__((noinline)) void backward_many(const DenseBackwardInput& op, decltype(&store_turned<Linear>) finish) {
  const int64_t fitting = kMostKernelFloats / op.n / kLane * kLane;
  const int64_t together = fitting < kLane ? kLane : fitting < kMostUnits ? fitting : kMostUnits;
  for (int64_t i = op.units.begin; i < op.units.end; i += together) {
    const int64_t end = op.units.end < i + together ? op.units.end : i + together;
    sweep_vectors<kTileVectors>({0, round_up(op.rows, kLane)}, [&](auto vectors, int64_t b) {
      constexpr int kVectors = decltype(vectors)::value;
      vf sums[kMostUnits][kVectors];
      for (int64_t p = 0; p < op.n; p += kChain) {
        sweep<kTileRows>(i, end, 1, [&](auto units, int64_t unit) {
          constexpr int kRows = decltype(units)::value;
          const ByPanels weights{op.kernel, {op.k, op.n}, unit};
          const int64_t stop = op.n < p + kChain ? op.n : p + kChain;
          if (b == 0 && unit + 2 * kRows <= op.units.end) prefetch_kernel(op, unit + kRows, kRows, p, stop);
          auto& sum = reinterpret_cast<vf(&)[kRows][kVectors]>(sums[unit - i]);
          if (p == 0) return chain(sum, weights, op.dz + b, op.lddz, p, stop);
          vf block[kRows][kVectors];
          chain(block, weights, op.dz + b, op.lddz, p, stop);
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v) sum[r][v] = sum[r][v] + block[r][v];
          }
        });
      }
      for (int64_t unit = end; unit < round_up(end, kLane); ++unit) {
        for (vf& sum : sums[unit - i]) sum = vf{};
      }
      for (int64_t unit = i; unit < end; unit += kLane) {
        for (int v = 0; v < kVectors; ++v) finish(op, &sums[unit - i][v], kVectors, b + v * kWidth, unit);
      }
    });
  }
}

/// Rows `units` of a kernel with at most kLane columns, turned, for kMostUnits units; zero for those missing.
__attribute__((noinline)) inline void turn_kernel(float (&turned)[kLane][kMostUnits], const float* kernel,
                                                  Range units) {
  for (int64_t i = 0; i < kMostUnits; i += kWidth) {
    for (int64_t j = 0; j < kLane; j += kWidth) {
      vf square[kWidth];
      for (int64_t u = 0; u < kWidth; ++u) {
        const int64_t unit = units.begin + i + u;
        square[u] = unit < units.end ? load(kernel + unit * kLane + j) : vf{};
      }
      transpose_square(square);
      for (int c = 0; c < kWidth; ++c) store(&turned[j + c][i], square[c]);
    }
  }
}

/// With few columns it is the kernel that is turned: dz and dx keep their rows.
template <class Act>
ENGINE_INLINE void backward_narrow(const DenseBackwardInput& op) {
  for (int64_t i = op.units.begin; i < op.units.end; i += kMostUnits) {
    const int64_t end = op.units.end < i + kMostUnits ? round_up(op.units.end, kLane) : i + kMostUnits;
    alignas(64) float turned[kLane][kMostUnits];
    turn_kernel(turned, op.kernel, {i, op.units.end});
    sweep_rows<kTileRows>({0, op.rows}, [&](auto rows, int64_t b) {
      constexpr int kRows = decltype(rows)::value;
      for (int64_t j = i; j < end; j += kTileVectors * kWidth) {
        vf sums[kRows][kTileVectors];
        chain(sums, ByRows{op.dz + b * op.lddz, op.lddz}, turned[0] + (j - i), kMostUnits, 0, op.n);
        for (int r = 0; r < kRows; ++r) {
          for (int v = 0; v < kTileVectors && j + v * kWidth < end; ++v) {
            store_gradient<Act>(op, (b + r) * op.ldx + j + v * kWidth, sums[r][v] + 0.0f);
          }
        }
      }
    });
  }
}

template <class Act>
void dense_backward_input(const DenseBackwardInput& op) {
  if (op.in_lanes) {
    backward_few(op, store_totals<Act>);
  } else if (turns_kernel(op.n)) {
    backward_narrow<Act>(op);
  } else {
    backward_many(op, store_turned<Act>);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
