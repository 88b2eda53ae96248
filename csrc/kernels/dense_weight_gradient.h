// The gradients of a dense layer with respect to its kernel, x^T dz, and its bias, the column sums of dz.
#pragma once
#include "kernels/csr_products.h"
#include "kernels/microtile.h"
#include "kernels/prefetch.h"
#include "kernels/sparse_products.h"
#include "kernels/sums.h"
#include "kernels/table.h"
#include "kernels/update.h"

namespace engine::ENGINE_ISA {
namespace {

template <class U>
void dense_backward_bias(const DenseBackwardWeights& op, const U& update) {
  sum_columns(
      {0, op.rows}, op.columns, [&](int64_t b, int64_t j, vf sum) { return sum + load(op.dz + b * op.lddz + j); },
      [&](int64_t j, const vf* sums, int vectors) { update(j, 0, sums, 1, vectors); });
}

/// Tiles of a gradient, in whose epilogue the next batch is fetched.
inline RowPrefetcher tile_fetcher(const DenseBackwardWeights& op) {
  return RowPrefetcher(op.ahead, (op.units.end - op.units.begin) / kTileRows *
                                     ((op.columns.end - op.columns.begin) / (kTileVectors * kWidth)));
}

/// Units of a strip: whole lines and whole tiles.
constexpr int64_t kStripUnits = kLane % kTileRows == 0 ? kLane : 3 * kLane;
static_assert(kStripUnits % kTileRows == 0);

/// Rows of a batch, and columns of a panel, from which on a strip is worth making.
constexpr int64_t kFewestStripRows = 64, kFewestStripColumns = 3 * kLane;

/// Units, whole strips, whose sums (24 KiB) wait while a long batch goes by, kChain rows at a time.
constexpr int64_t kUnitsTogether = 96;
static_assert(kUnitsTogether % kStripUnits == 0);

/// Columns of at most kChain rows of x, copied to lie side by side (rows, kStripUnits). Where they lie a row's next
/// line is on another page, so that few would stay in the L1 cache for the next tile, and no prefetcher finds the way.
class Strip {
 public:
  ColumnMajor copy(const DenseBackwardWeights& op, Range rows, Range units) {
    const int64_t count = units.end - units.begin, whole = count / kWidth * kWidth;
    float* to = at_;
    for (int64_t b = rows.begin; b < rows.end; ++b, to += kStripUnits) {
      const float* from = (op.x_rows ? op.x_rows[b] : op.x + b * op.ldx) + units.begin;
      for (int64_t u = 0; u < kStripUnits; u += kLane) __builtin_prefetch(from + kStripUnits + u, 0, 2);
      for (int64_t u = 0; u < whole; u += kWidth) store(to + u, load(from + u));
      if (whole < count) store(to + whole, load_part(from + whole, count - whole));
    }
    return {at_, kStripUnits};
  }

 private:
  alignas(64) float at_[kChain * kStripUnits];
};

/// The gradient of dense rows, `size` units at a time: `x(rows, units)` are their columns of some rows.
template <class U, class X>
ENGINE_INLINE void backward_tiles(const DenseBackwardWeights& op, const U& update, int64_t size, X&& x) {
  RowPrefetcher fetcher = tile_fetcher(op);
  alignas(64) float sums[kUnitsTogether][kPanel];
  for (int64_t i0 = op.units.begin; i0 < op.units.end; i0 += kUnitsTogether) {
    const int64_t i1 = op.units.end < i0 + kUnitsTogether ? op.units.end : i0 + kUnitsTogether;
    for (int64_t begin = 0; begin < op.rows; begin += kChain) {
      const int64_t end = op.rows < begin + kChain ? op.rows : begin + kChain;
      for (int64_t from = i0; from < i1; from += size) {
        const Range units{from, i1 < from + size ? i1 : from + size};
        const auto a = x(Range{begin, end}, units);
        sweep<kTileRows>(units.begin, units.end, 1, [&](auto tile, int64_t i) {
          sweep_vectors<kTileVectors>(op.columns, [&](auto vectors, int64_t j) {
            constexpr int kRows = decltype(tile)::value, kVectors = decltype(vectors)::value;
            const VectorRows waiting{&sums[i - i0][j - op.columns.begin], kPanel};
            const auto add = [&](auto out) {
              add_chain<kRows, kVectors>(begin > 0 ? waiting : kFromZero, out, a.from_row(i - from),
                                         op.dz + begin * op.lddz + j, op.lddz, {0, end - begin});
            };
            if (end < op.rows) return add(waiting);
            vf gradient[kRows][kVectors];
            add(Tile{gradient[0]});
            fetcher.fetch();
            update(i * op.ldw + j, op.ldw, gradient[0], kRows, kVectors);
          });
        });
      }
    }
  }
}

template <class U>
void backward_dense(const DenseBackwardWeights& op, const U& update) {
  const bool copies = op.rows >= kFewestStripRows && op.columns.end - op.columns.begin >= kFewestStripColumns;
  if (op.x_rows && !copies) {
    return backward_tiles(op, update, kUnitsTogether,
                          [&](Range rows, Range units) { return ColumnPointers{op.x_rows + rows.begin, units.begin}; });
  }
  Strip strip;
  backward_tiles(op, update, copies ? kStripUnits : kUnitsTogether, [&](Range rows, Range units) {
    return copies ? strip.copy(op, rows, units) : ColumnMajor{op.x + rows.begin * op.ldx + units.begin, op.ldx};
  });
}

/// The gradient of one sample, an outer product. The way in and out of a tile would take longer than its only term.
template <class U>
void backward_one_sample(const DenseBackwardWeights& op, const U& update) {
  constexpr int64_t kUnits = 8;
  const float* x = op.x_rows ? op.x_rows[0] : op.x;
  const int64_t j = op.columns.begin, end = op.units.end;
  RowPrefetcher fetcher(op.ahead, (end - op.units.begin) / kUnits);
  for (int64_t i = op.units.begin; i < end; i += kUnits) {
    const int64_t units = end < i + kUnits ? end - i : kUnits;
    fetcher.fetch();
    update.step_outer(i * op.ldw + j, op.ldw, x + i, units, op.dz + j, op.columns.end - j);
  }
}

template <class U>
void dense_backward_kernel(const DenseBackwardWeights& op, const U& update) {
  const int64_t units = op.units.end - op.units.begin;
  if (op.gradient) {
    const auto vectors = static_cast<int>((op.columns.end - op.columns.begin) / kWidth);
    RowPrefetcher fetcher(op.ahead, units);
    for (int64_t i = 0; i < units; ++i) {
      fetcher.fetch();
      update((op.units.begin + i) * op.ldw + op.columns.begin, op.ldw,
             reinterpret_cast<const vf*>(op.gradient + i * op.ldg), 1, vectors);
    }
    return;
  }
  if (op.compressed) {
    compressed_transposed_products(*op.compressed, *op.sums, op.rows, op.units, op.dz, op.lddz, op.columns,
                                   [&](int64_t unit, int64_t column, const vf* gradient, int units, int vectors) {
                                     update(unit * op.ldw + column, op.ldw, gradient, units, vectors);
                                   });
    return;
  }
  if (op.nonzeros && op.nonzeros->found()) {
    sparse_transposed_products(*op.nonzeros, op.rows, op.units, op.dz, op.lddz, op.columns, op.last,
                               [&](int64_t unit, int64_t column, const vf* gradient, int units, int vectors) {
                                 update(unit * op.ldw + column, op.ldw, gradient, units, vectors);
                               });
    return;
  }
  if (op.rows == 1) return backward_one_sample(op, update);
  backward_dense(op, update);
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
void dense_backward_weights(const DenseBackwardWeights& op) {
  const auto coefficients = coefficients_of<Opt>(op.step);
  if (op.bias.values && op.units.begin == 0) {
    const Update<Opt, Kind> update(op.bias, coefficients, op.step);
    dense_backward_bias(op, update);
  }
  const Update<Opt, Kind> update(op.kernel, coefficients, op.step);
  dense_backward_kernel(op, update);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
