// The gradients of a dense layer with respect to its kernel (k, n), x (rows, k)^T dz (rows, n), and to its bias, the
// column sums of dz. Their epilogue `update` stores a tile of the gradient, or steps the weights by it (fused_step.h).
// In this file "inputs" are the rows of the kernel.
#pragma once
#include "kernels/csr_products.h"
#include "kernels/fused_step.h"
#include "kernels/microtile.h"
#include "kernels/prefetch.h"
#include "kernels/sparse_products.h"
#include "kernels/sums.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

void bias_gradient(const DenseWeightGradientArgs& op, const AnyUpdate& update) {
  sum_columns(
      {0, op.rows}, op.columns, [&](int64_t b, int64_t j, vf sum) { return sum + load(op.dz + b * op.lddz + j); },
      [&](int64_t j, const vf* sums, int vectors) { update.step_rows(j, 0, sums, 1, vectors); });
}

/// Prefetches rows of the next batch in the epilogues of tiles.
inline RowPrefetcher tile_prefetcher(const DenseWeightGradientArgs& op) {
  return RowPrefetcher(op.prefetch, (op.inputs.end - op.inputs.begin) / kTileRows *
                                        ((op.columns.end - op.columns.begin) / (kTileVectors * kWidth)));
}

/// The inputs of a copied block: whole cache lines and whole tiles.
constexpr int64_t kCopiedInputs = kLineFloats % kTileRows == 0 ? kLineFloats : 3 * kLineFloats;
static_assert(kCopiedInputs % kTileRows == 0);

/// From so many rows of a batch and columns of a panel on, a copy pays.
constexpr int64_t kFewestCopiedRows = 64, kFewestCopiedColumns = 3 * kLineFloats;

/// The inputs of a block, whose sums (24 KiB) stay in the L1 cache while a long batch passes by, one chain at a time.
constexpr int64_t kInputsPerBlock = 96;
static_assert(kInputsPerBlock % kCopiedInputs == 0);

/// A contiguous copy (rows, kCopiedInputs) of some columns of at most kChain rows of x. In x itself the next row is on
/// another page of memory: few of its lines stay in the L1 cache for the next tile, and the hardware does not prefetch.
class CopiedColumns {
 public:
  ColumnMajor copy(const DenseWeightGradientArgs& op, Range rows, Range inputs) {
    const int64_t count = inputs.end - inputs.begin, whole = count / kWidth * kWidth;
    float* to = data_;
    for (int64_t b = rows.begin; b < rows.end; ++b, to += kCopiedInputs) {
      const float* from = (op.x_rows ? op.x_rows[b] : op.x + b * op.ldx) + inputs.begin;
      for (int64_t u = 0; u < kCopiedInputs; u += kLineFloats) __builtin_prefetch(from + kCopiedInputs + u, 0, 2);
      for (int64_t u = 0; u < whole; u += kWidth) store(to + u, load(from + u));
      if (whole < count) store(to + whole, load_partial(from + whole, count - whole));
    }
    return {data_, kCopiedInputs};
  }

 private:
  alignas(64) float data_[kChain * kCopiedInputs];
};

/// The gradient x^T dz of dense rows, for `size` inputs at a time: `x(rows, inputs)` is x^T for these rows and inputs.
template <class X>
ENGINE_INLINE void gradient_tiles(const DenseWeightGradientArgs& op, const AnyUpdate& update, int64_t size, X&& x) {
  RowPrefetcher prefetcher = tile_prefetcher(op);
  alignas(64) float sums[kInputsPerBlock][kPanel];
  for (int64_t i0 = op.inputs.begin; i0 < op.inputs.end; i0 += kInputsPerBlock) {
    const int64_t i1 = op.inputs.end < i0 + kInputsPerBlock ? op.inputs.end : i0 + kInputsPerBlock;
    for (int64_t begin = 0; begin < op.rows; begin += kChain) {
      const int64_t end = op.rows < begin + kChain ? op.rows : begin + kChain;
      for (int64_t from = i0; from < i1; from += size) {
        const Range inputs{from, i1 < from + size ? i1 : from + size};
        const auto a = x(Range{begin, end}, inputs);
        sweep<kTileRows>(inputs.begin, inputs.end, 1, [&](auto tile, int64_t i) {
          sweep_vectors<kTileVectors>(op.columns, [&](auto vectors, int64_t j) {
            constexpr int kRows = decltype(tile)::value, kVectors = decltype(vectors)::value;
            const VectorRows partial{&sums[i - i0][j - op.columns.begin], kPanel};
            const auto add = [&](auto out) {
              add_chain<kRows, kVectors>(begin > 0 ? partial : kFromZero, out, a.from_row(i - from),
                                         op.dz + begin * op.lddz + j, op.lddz, {0, end - begin});
            };
            if (end < op.rows) return add(partial);
            vf gradient[kRows][kVectors];
            add(Tile{gradient[0]});
            prefetcher.fetch();
            update.step_tile<kRows, kVectors>(i * op.ldw + j, op.ldw, gradient[0]);
          });
        });
      }
    }
  }
}

void dense_rows_gradient(const DenseWeightGradientArgs& op, const AnyUpdate& update) {
  const bool copies = op.rows >= kFewestCopiedRows && op.columns.end - op.columns.begin >= kFewestCopiedColumns;
  if (op.x_rows && !copies) {
    return gradient_tiles(op, update, kInputsPerBlock, [&](Range rows, Range inputs) {
      return ColumnPointers{op.x_rows + rows.begin, inputs.begin};
    });
  }
  CopiedColumns copied;
  gradient_tiles(op, update, copies ? kCopiedInputs : kInputsPerBlock, [&](Range rows, Range inputs) {
    return copies ? copied.copy(op, rows, inputs) : ColumnMajor{op.x + rows.begin * op.ldx + inputs.begin, op.ldx};
  });
}

/// The gradient of a single sample, an outer product. Its only term would take less time than storing and loading a
/// tile.
void outer_product_gradient(const DenseWeightGradientArgs& op, const AnyUpdate& update) {
  constexpr int64_t kInputs = 8;
  const float* x = op.x_rows ? op.x_rows[0] : op.x;
  const int64_t j = op.columns.begin, end = op.inputs.end;
  RowPrefetcher prefetcher(op.prefetch, (end - op.inputs.begin) / kInputs);
  for (int64_t i = op.inputs.begin; i < end; i += kInputs) {
    const int64_t inputs = end < i + kInputs ? end - i : kInputs;
    prefetcher.fetch();
    update.step_outer(i * op.ldw + j, op.ldw, x + i, inputs, op.dz + j, op.columns.end - j);
  }
}

/// The gradient of a kernel where x is not given by records of its nonzero elements.
void kernel_gradient(const DenseWeightGradientArgs& op, const AnyUpdate& update) {
  const int64_t inputs = op.inputs.end - op.inputs.begin;
  if (op.gradient) {
    const auto vectors = static_cast<int>((op.columns.end - op.columns.begin) / kWidth);
    RowPrefetcher prefetcher(op.prefetch, inputs);
    for (int64_t i = 0; i < inputs; ++i) {
      prefetcher.fetch();
      update.step_rows((op.inputs.begin + i) * op.ldw + op.columns.begin, op.ldw,
                       reinterpret_cast<const vf*>(op.gradient + i * op.ldg), 1, vectors);
    }
    return;
  }
  if (op.compressed) {
    compressed_transposed_products(*op.compressed, *op.sums, op.rows, op.inputs, op.dz, op.lddz, op.columns,
                                   [&](int64_t input, int64_t column, const vf* gradient, int inputs, int vectors) {
                                     update.step_rows(input * op.ldw + column, op.ldw, gradient, inputs, vectors);
                                   });
    return;
  }
  if (op.rows == 1) return outer_product_gradient(op, update);
  dense_rows_gradient(op, update);
}

/// The gradient of a kernel where it is. The product calls its step directly, once for each row of the kernel: a call
/// through `AnyUpdate` would add 4 % to the instructions of a step of 784-128-10 on images.
template <class U>
void sparse_kernel_gradient(const DenseWeightGradientArgs& op, const U& update) {
  sparse_transposed_products(*op.nonzeros, op.rows, op.inputs, op.dz, op.lddz, op.columns, op.clears_nonzeros,
                             [&](int64_t input, int64_t column, const vf* gradient, int inputs, int vectors) {
                               step_tile(update, input * op.ldw + column, op.ldw, gradient, inputs, vectors);
                             });
}

template <class Opt>
void fill_coefficients(const OptimizerStep& step, void* out) {
  using Coefficients = typename Opt::Coefficients;
  static_assert(sizeof(Coefficients) <= kCoefficientBytes);
  *static_cast<Coefficients*>(out) = Opt::coefficients(step);
}

template <class Opt>
ENGINE_INLINE typename Opt::Coefficients coefficients_of(const OptimizerStep& step) {
  if (!step.coefficients) return Opt::coefficients(step);
  return *static_cast<const typename Opt::Coefficients*>(step.coefficients);
}

template <class Opt, Shrinkage Kind>
void dense_weight_step(const DenseWeightGradientArgs& op) {
  const auto coefficients = coefficients_of<Opt>(op.step);
  if (op.bias.values && op.inputs.begin == 0) {
    const Update<Opt, Kind> update(op.bias, coefficients, op.step);
    bias_gradient(op, AnyUpdate(update));
  }
  const Update<Opt, Kind> update(op.kernel, coefficients, op.step);
  const bool sparse = !op.gradient && !op.compressed && op.nonzeros && op.nonzeros->found();
  sparse ? sparse_kernel_gradient(op, update) : kernel_gradient(op, AnyUpdate(update));
}

}  // namespace
}  // namespace engine::ENGINE_ISA
