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

/// Asks for `rows` of the kernel from `unit` on, within `columns`: pieces of panels, too short for the
/// prefetchers.
ENGINE_INLINE void prefetch_kernel(const DenseBackwardInput& op, int64_t unit, int64_t rows, Range columns) {
  Panels(op.k, op.n).each(columns, [&](const Panel& panel) {
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
/// no transposed copy of the kernel is needed. kLane units at a time are transposed as they are stored.
template <class Act>
ENGINE_INLINE void input_gradient_by_dz(const DenseBackwardInput& op) {
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
          const KernelPanels weights{op.kernel, {op.k, op.n}, unit};
          const Range chain = chain_from(p, op.n);
          if (b == 0 && unit + 2 * kRows <= op.units.end) prefetch_kernel(op, unit + kRows, kRows, chain);
          const VectorRows sum{reinterpret_cast<float*>(sums[unit - i]), kVectors * kWidth};
          add_chain<kRows, kVectors>(p == 0 ? kFromZero : sum, Tile{sums[unit - i]}, weights, op.dz + b, op.lddz,
                                     chain);
        });
      }
      for (int64_t unit = end; unit < round_up(end, kLane); ++unit) {
        for (vf& sum : sums[unit - i]) sum = vf{};
      }
      for (int64_t unit = i; unit < end; unit += kLane) {
        for (int v = 0; v < kVectors; ++v) store_turned<Act>(op, &sums[unit - i][v], kVectors, b + v * kWidth, unit);
      }
    });
  }
}

/// Units whose rows of a kernel are transposed together: those of one chain (32 KiB) stay in the L1 cache.
constexpr int64_t kTransposedUnits = 2 * kLane;

/// transposed (columns, kTransposedUnits) = columns `chain` of rows `units` of the kernel,
/// the last of which stands for those missing.
__attribute__((noinline)) inline void transpose_kernel(float (&transposed)[kChain][kTransposedUnits],
                                                       const DenseBackwardInput& op, Range units, Range chain) {
  Panels(op.k, op.n).each(chain, [&](const Panel& panel) {
    const float* kernel = op.kernel + panel.offset;
    float (*to)[kTransposedUnits] = transposed + (panel.first - chain.begin);
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
      const Range chain = chain_from(p, op.n);
      alignas(64) float transposed[kChain][kTransposedUnits];
      transpose_kernel(transposed, op, {i, op.units.end}, chain);
      const bool has_epilogue = chain.end == op.n && Act::kKind != Activation::kLinear;
      sweep_rows<kTileRows>({0, op.rows}, [&](auto rows, int64_t b) {
        constexpr int kRows = decltype(rows)::value;
        const RowMajor dz{op.dz + b * op.lddz + p, op.lddz};
        sweep_vectors<kTileVectors>({i, end}, [&](auto vectors, int64_t j) {
          constexpr int kVectors = decltype(vectors)::value;
          const int64_t at = b * op.ldx + j;
          const VectorRows in_dx{op.dx + at, op.ldx};
          const auto add = [&](auto out) {
            add_chain<kRows, kVectors>(p == 0 ? kFromZero : in_dx, out, dz, transposed[0] + (j - i), kTransposedUnits,
                                       {0, chain.end - p});
          };
          if (!has_epilogue) return add(in_dx);
          vf tile[kRows][kVectors];
          add(Tile{tile[0]});
          for (int r = 0; r < kRows; ++r) {
            for (int v = 0; v < kVectors; ++v) store_gradient<Act>(op, at + r * op.ldx + v * kWidth, tile[r][v] + 0.0f);
          }
        });
      });
    }
  }
}

template <class Act>
void dense_backward_input(const DenseBackwardInput& op) {
  if (op.dz_transposed) {
    input_gradient_by_dz<Act>(op);
  } else {
    input_gradient_by_kernel<Act>(op);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
