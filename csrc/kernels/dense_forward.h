// The forward product of a dense layer, y (rows, n) = activation(x (rows, k) kernel (k, n) + bias), for dense x, for
// x with its zeros skipped, and for x in CSR.
#pragma once
#include "kernels/activations.h"
#include "kernels/csr_products.h"
#include "kernels/microtile.h"
#include "kernels/prefetch.h"
#include "kernels/slices.h"
#include "kernels/sparse_products.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// The tile for many rows, where A is row-major. 6 x 4 vectors of AVX-512 take 37 instructions for 24 multiply-adds, 8
/// x 2 take 29 for 16. Alone on a core both are equally fast; with a busy second hardware thread 6 x 4 saves a fifth.
constexpr int kForwardRows = ENGINE_VECTOR_BYTES == 64 ? 6 : kTileRows;
constexpr int kForwardVectors = ENGINE_VECTOR_BYTES == 64 ? 4 : kTileVectors;

/// Covers rows and columns with tiles: f(Size<rows>, Size<vectors>, first row, first column). All rows pass by some
/// columns before the next columns follow, so that these columns of the kernel stay in the L1 cache. A single row takes
/// wider tiles, for as many independent multiply-adds.
template <class F>
ENGINE_INLINE void sweep_tiles(Range rows, Range columns, F&& f) {
  const auto sweep_pieces = [&](auto vectors, int64_t j) {
    sweep<kTileRows>(rows.begin, rows.end, 1, [&](auto count, int64_t i) { f(count, vectors, i, j); });
  };
  const int64_t count = rows.end - rows.begin;
  if (count == 1) {
    sweep_vectors<kSingleRowVectors>(columns, [&](auto vectors, int64_t j) { f(Size<1>{}, vectors, rows.begin, j); });
  } else if (count <= kTileRows) {
    sweep_vectors<kTileVectors>(columns, sweep_pieces);
  } else {
    sweep_vectors<kForwardVectors>(columns, [&](auto vectors, int64_t j) {
      if constexpr (decltype(vectors)::value <= kTileVectors) {
        sweep_pieces(vectors, j);
      } else {
        const int64_t whole = rows.begin + count / kForwardRows * kForwardRows;
        const auto tile = [&](auto piece, int64_t i) { f(piece, vectors, i, j); };
        sweep<kForwardRows, kForwardRows>(rows.begin, whole, 1, tile);
        sweep<2>(whole, rows.end, 1, tile);
      }
    });
  }
}

/// The epilogue: y at (row, column) = activation(sums (rows, vectors) + bias). The bias is never -0, so that the
/// addition does to a sum of -0 what every product ends with (microtile.h).
template <class Act>
void finish_sums(const DenseForwardArgs& op, int64_t row, int64_t column, const float* sums, int64_t ld, int64_t rows,
                 int vectors) {
  if (rows <= 0 || vectors <= 0) __builtin_unreachable();
  constexpr int kPerPass = kVectorsPerLine < kTileVectors ? kVectorsPerLine : kTileVectors;  // divides `vectors`
  const float* bias = op.in_slices ? nullptr : op.bias;
  float* y = op.y + row * op.ldy + column;
  const int64_t ldy = op.ldy;
  for (int64_t j = 0; j < vectors * kWidth; j += kPerPass * kWidth) {
    vf shift[kPerPass];
#pragma GCC unroll 2
    for (int v = 0; v < kPerPass; ++v) shift[v] = bias ? load(bias + column + j + v * kWidth) + 0.0f : vf{};
    float* to = y + j;
    const float *sum = sums + j, *end = sum + rows * ld;
    for (; sum != end; sum += ld, to += ldy) {
#pragma GCC unroll 2
      for (int v = 0; v < kPerPass; ++v) store(to + v * kWidth, Act::forward(load(sum + v * kWidth) + shift[v]));
    }
  }
}

template <class Act>
void dense_forward(const DenseForwardArgs& op) {
  const auto epilogue = [&](int64_t row, int64_t column, const float* sums, int64_t ld, int64_t rows, int vectors) {
    finish_sums<Act>(op, row, column, sums, ld, rows, vectors);
  };
  if (op.compressed) {
    compressed_products(*op.compressed, op.rows, op.kernel, op.ldw, op.columns, op.in_slices, op.bias, epilogue);
    return;
  }
  if (op.nonzeros && op.nonzeros->found()) {
    sparse_products(*op.nonzeros, op.rows, op.kernel, op.ldw, op.columns, op.stores_transpose, epilogue);
    return;
  }
  RowPrefetcher prefetcher(op.prefetch, divide_up(op.rows.end - op.rows.begin, kForwardRows));
  sweep_tiles(op.rows, op.columns, [&](auto rows, auto vectors, int64_t i, int64_t j) {
    constexpr int kRows = decltype(rows)::value, kVectors = decltype(vectors)::value;
    if (j == op.columns.begin) prefetcher.fetch();
    vf tile[kRows][kVectors];
    const auto sum = [&](const auto& x) {
      if constexpr (kVectors <= kVectorsPerLine) {
        if (op.in_slices) {
          return sum_slices(tile, x, op.kernel + j, op.ldw, op.k, op.bias ? op.bias + j : nullptr);
        }
      }
      microtile(tile, x, op.kernel + j, op.ldw, op.k);
    };
    if (op.x_rows) {
      sum(RowPointers<kRows>{op.x_rows + i});
    } else {
      sum(RowMajor{op.x + i * op.ldx, op.ldx});
    }
    epilogue(i, j, reinterpret_cast<const float*>(tile), kVectors * kWidth, kRows, kVectors);
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
