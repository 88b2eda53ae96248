// The gradient of a dense layer with respect to its input: dx (rows, k) = dz (rows, n) kernel (k, n)^T, multiplied with
// the derivative of the activation before. One operand has to be transposed: dz, before this kernel is called, or
// blocks of the kernel, here (transposes_kernel in layout.h says when). In this file "inputs" are the rows of the
// kernel.
#pragma once
#include <type_traits>

#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// The epilogue: dx = (addend + sum) * activation'(saved).
template <class Act>
ENGINE_INLINE void store_gradient(const DenseInputGradientArgs& op, int64_t at, vf sum) {
  if (op.addend) sum = load(op.addend + at) + sum;
  if constexpr (Act::kKind != Activation::kLinear) sum = Act::backward(sum, load(op.saved + at));
  store(op.dx + at, sum);
}

/// The floats of rows of the kernel that stay in the L2 cache for the next samples: 512 KiB.
constexpr int64_t kMaxKernelFloats = 128 << 10;

/// Prefetches `rows` of the kernel from `input` on, within `columns`. They are short pieces of panels, for which the
/// hardware's prefetchers begin too late.
ENGINE_INLINE void prefetch_kernel(const DenseInputGradientArgs& op, int64_t input, int64_t rows, Range columns) {
  Panels(op.k, op.n).each(columns, [&](const Panel& panel) {
    const float* piece = op.kernel + panel.offset + input * panel.width;
    for (int64_t i = 0; i < rows * panel.width; i += kLineFloats) __builtin_prefetch(piece + i, 0, 2);
  });
}

/// The most inputs of a block: one chain of a panel of dz (32 KiB with AVX-512) serves all of them from the L1 cache,
/// and their rows of the kernel stay in the L2 cache.
constexpr int64_t kMaxInputs = 64;

/// Transposes sums (kLineFloats inputs, kWidth samples), whose rows are `stride` vectors apart, and stores them as rows
/// of dx.
template <class Act>
void store_transposed(const DenseInputGradientArgs& op, const vf* sums, int64_t stride, int64_t b, int64_t i) {
  const int64_t count = op.rows - b < kWidth ? op.rows - b : kWidth;
#pragma GCC unroll 4
  for (int part = 0; part < kVectorsPerLine; ++part) {
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

/// Computes tiles of dx^T = kernel dz^T from transposed dz (n, rows): the vectors run along the batch, so that the
/// kernel is read as it is. kLineFloats inputs at a time are transposed when they are stored.
template <class Act>
ENGINE_INLINE void input_gradient_by_dz(const DenseInputGradientArgs& op) {
  const int64_t fitting = kMaxKernelFloats / op.n / kLineFloats * kLineFloats;
  const int64_t block = fitting < kLineFloats ? kLineFloats : fitting < kMaxInputs ? fitting : kMaxInputs;
  for (int64_t i = op.inputs.begin; i < op.inputs.end; i += block) {
    const int64_t end = op.inputs.end < i + block ? op.inputs.end : i + block;
    sweep_vectors<kTileVectors>({0, round_up(op.rows, kLineFloats)}, [&](auto vectors, int64_t b) {
      constexpr int kVectors = decltype(vectors)::value;
      vf sums[kMaxInputs][kVectors];
      for (int64_t p = 0; p < op.n; p += kChain) {
        sweep<kTileRows>(i, end, 1, [&](auto size, int64_t input) {
          constexpr int kRows = decltype(size)::value;
          const KernelPanels weights{op.kernel, {op.k, op.n}, input};
          const Range chain = chain_from(p, op.n);
          if (b == 0 && input + 2 * kRows <= op.inputs.end) prefetch_kernel(op, input + kRows, kRows, chain);
          const VectorRows sum{reinterpret_cast<float*>(sums[input - i]), kVectors * kWidth};
          add_chain<kRows, kVectors>(p == 0 ? kFromZero : sum, Tile{sums[input - i]}, weights, op.dz + b, op.lddz,
                                     chain);
        });
      }
      for (int64_t input = end; input < round_up(end, kLineFloats); ++input) {
        for (vf& sum : sums[input - i]) sum = vf{};
      }
      for (int64_t input = i; input < end; input += kLineFloats) {
        for (int v = 0; v < kVectors; ++v)
          store_transposed<Act>(op, &sums[input - i][v], kVectors, b + v * kWidth, input);
      }
    });
  }
}

/// The inputs whose rows of the kernel are transposed at a time: those of one chain (32 KiB) stay in the L1 cache.
constexpr int64_t kTransposedInputs = 2 * kLineFloats;

/// transposed (columns, kTransposedInputs) = the columns `chain` of rows `inputs` of the kernel, transposed. If there
/// are fewer inputs, the last one is repeated.
__attribute__((noinline)) inline void transpose_kernel(float (&transposed)[kChain][kTransposedInputs],
                                                       const DenseInputGradientArgs& op, Range inputs, Range chain) {
  Panels(op.k, op.n).each(chain, [&](const Panel& panel) {
    const float* kernel = op.kernel + panel.offset;
    float (*to)[kTransposedInputs] = transposed + (panel.first - chain.begin);
    for (int64_t i = 0; i < kTransposedInputs; i += kWidth) {
      const float* row[kWidth];
      for (int64_t u = 0; u < kWidth; ++u) {
        const int64_t input = inputs.begin + i + u;
        row[u] = kernel + (input < inputs.end ? input : inputs.end - 1) * panel.width;
      }
      for (int64_t j = panel.columns.begin; j < panel.columns.end; j += 4) {
        vf columns[4];
        load_four_columns(columns, [&](int u) { return row[u] + j; });
        for (int c = 0; c < 4; ++c) store(&to[j + c][i], columns[c]);
      }
    }
  });
}

/// Computes tiles of dx = dz kernel^T from blocks of the transposed kernel: the vectors run along the inputs. Between
/// chains the sums are kept in dx.
template <class Act>
ENGINE_INLINE void input_gradient_by_kernel(const DenseInputGradientArgs& op) {
  for (int64_t i = op.inputs.begin; i < op.inputs.end; i += kTransposedInputs) {
    const int64_t end =
        op.inputs.end < i + kTransposedInputs ? round_up(op.inputs.end, kLineFloats) : i + kTransposedInputs;
    for (int64_t p = 0; p < op.n; p += kChain) {
      const Range chain = chain_from(p, op.n);
      alignas(64) float transposed[kChain][kTransposedInputs];
      transpose_kernel(transposed, op, {i, op.inputs.end}, chain);
      const bool has_epilogue = chain.end == op.n && (Act::kKind != Activation::kLinear || op.addend);
      sweep_rows<kTileRows>({0, op.rows}, [&](auto rows, int64_t b) {
        constexpr int kRows = decltype(rows)::value;
        const RowMajor dz{op.dz + b * op.lddz + p, op.lddz};
        sweep_vectors<kTileVectors>({i, end}, [&](auto vectors, int64_t j) {
          constexpr int kVectors = decltype(vectors)::value;
          const int64_t at = b * op.ldx + j;
          const VectorRows in_dx{op.dx + at, op.ldx};
          const auto add = [&](auto out) {
            add_chain<kRows, kVectors>(p == 0 ? kFromZero : in_dx, out, dz, transposed[0] + (j - i), kTransposedInputs,
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
void dense_input_gradient(const DenseInputGradientArgs& op) {
  if (op.dz_transposed) {
    input_gradient_by_dz<Act>(op);
  } else {
    input_gradient_by_kernel<Act>(op);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
