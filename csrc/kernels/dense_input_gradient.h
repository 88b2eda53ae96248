// The gradient of a dense layer with respect to its input: dx = dz kernel^T.
#pragma once
#include <type_traits>

#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// dx = sum through the derivative of what came before.
template <class Act>
ENGINE_INLINE void store_gradient(const DenseBackwardInput& op, int64_t at, vf sum) {
  if constexpr (Act::kKind != Activation::kLinear) sum = Act::backward(sum, load(op.saved + at));
  store(op.dx + at, sum);
}

/// Floats of a kernel whose rows wait in the L2 cache for the next samples.
constexpr int64_t kMostKernelFloats = 128 << 10;

/// Asks for `rows` of the kernel from `unit` on, within columns [begin, end): pieces of panels, too short for the
/// prefetchers.
ENGINE_INLINE void prefetch_kernel(const DenseBackwardInput& op, int64_t unit, int64_t rows, int64_t begin,
                                   int64_t end) {
  Panels(op.k, op.n).each({begin, end}, [&](const Panel& panel) {
    const float* piece = op.kernel + panel.offset + unit * panel.width;
    for (int64_t i = 0; i < rows * panel.width; i += kLane) __builtin_prefetch(piece + i, 0, 2);
  });
}

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

/// From dz transposed: tiles are of dx^T, units down and the batch across, so that the vectors run over the batch and
/// no transposed copy of the kernel is needed. kLane units at a time are transposed as they are stored. Not inlined:
/// all activations share it.
__attribute__((noinline)) void input_gradient_by_dz(const DenseBackwardInput& op,
                                                    decltype(&store_turned<Linear>) finish) {
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

/// Units whose rows of a kernel are transposed together: those of one chain (32 KiB) stay in the L1 cache.
constexpr int64_t kTransposedUnits = 2 * kLane;

/// transposed (columns, kTransposedUnits) = columns [begin, end), one chain at most, of rows `units` of the kernel,
/// the last of which stands for those missing.
__attribute__((noinline)) inline void transpose_kernel(float (&transposed)[kChain][kTransposedUnits],
                                                       const DenseBackwardInput& op, Range units, int64_t begin,
                                                       int64_t end) {
  Panels(op.k, op.n).each({begin, end}, [&](const Panel& panel) {
    const float* kernel = op.kernel + panel.offset;
    float (*to)[kTransposedUnits] = transposed + (panel.first - begin);
    for (int64_t i = 0; i < kTransposedUnits; i += kWidth) {
      const float* row[kWidth];
      for (int64_t u = 0; u < kWidth; ++u) {
        const int64_t unit = units.begin + i + u;
        row[u] = kernel + (unit < units.end ? unit : units.end - 1) * panel.width;
      }
      for (int64_t j = panel.columns.begin; j < panel.columns.end; j += 4) {
        vf columns[4];
        load_four_columns(columns, [&](int u) { return row[u] + j; });
        for (int c = 0; c < 4; ++c) store(&to[j + c][i], columns[c]);
      }
    }
  });
}

/// From blocks of the kernel transposed: vectors run over units, and dz and dx keep their rows. Sums of several chains
/// wait in dx.
template <class Act>
ENGINE_INLINE void input_gradient_by_kernel(const DenseBackwardInput& op) {
  for (int64_t i = op.units.begin; i < op.units.end; i += kTransposedUnits) {
    const int64_t end = op.units.end < i + kTransposedUnits ? round_up(op.units.end, kLane) : i + kTransposedUnits;
    for (int64_t p = 0; p < op.n; p += kChain) {
      const int64_t stop = op.n < p + kChain ? op.n : p + kChain;
      alignas(64) float transposed[kChain][kTransposedUnits];
      transpose_kernel(transposed, op, {i, op.units.end}, p, stop);
      sweep_rows<kTileRows>({0, op.rows}, [&](auto rows, int64_t b) {
        constexpr int kRows = decltype(rows)::value;
        for (int64_t j = i; j < end; j += kTileVectors * kWidth) {
          vf sums[kRows][kTileVectors];
          chain(sums, ByRows{op.dz + b * op.lddz + p, op.lddz}, transposed[0] + (j - i), kTransposedUnits, 0, stop - p);
          for (int r = 0; r < kRows; ++r) {
            for (int v = 0; v < kTileVectors && j + v * kWidth < end; ++v) {
              const int64_t at = (b + r) * op.ldx + j + v * kWidth;
              const vf sum = p == 0 ? sums[r][v] : load(op.dx + at) + sums[r][v];
              if (stop < op.n) {
                store(op.dx + at, sum);
              } else {
                store_gradient<Act>(op, at, sum + 0.0f);
              }
            }
          }
        }
      });
    }
  }
}

template <class Act>
void dense_backward_input(const DenseBackwardInput& op) {
  if (op.dz_transposed) {
    input_gradient_by_dz(op, store_turned<Act>);
  } else {
    input_gradient_by_kernel<Act>(op);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
