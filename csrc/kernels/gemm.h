// The general matrix product, c = activation(a b + bias), of ops.matmul and of large dense layers; and the dot product.
// `gemm` adds one chain of terms for one block of c. cpu/gemm.cpp divides a product into such blocks, and packs their
// operands where that pays.
#pragma once
#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/pack.h"
#include "kernels/strided_vectors.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// The rows mr of packed A. 12 x 2 vectors take 24 of 32 registers, and load and store sums less often than 8 x 2. Only
/// packed A is read so: rows in memory need a pointer each, and those of 12 rows spill.
constexpr int kMr = ENGINE_VECTOR_BYTES == 64 ? 12 : kTileRows;
/// The columns nr of packed B, and those for a product of a single row.
constexpr int64_t kNr = kTileVectors * kWidth;
constexpr int64_t kSingleRowNr = kSingleRowVectors * kWidth;

/// A is packed: panels of kMr rows, column after column; rows missing from the last panel are zero.
struct PackedRows {
  struct Cursor {
    const float* a;
    ENGINE_INLINE ContiguousElements<3> elements() const { return ContiguousElements<3>(a); }
    ENGINE_INLINE void next() { a += kMr; }
  };
  const float* a;
  ENGINE_INLINE Cursor cursor(int64_t p) const { return {a + p * kMr}; }
  ENGINE_INLINE int64_t last(int64_t, int64_t end) const { return end; }
};

/// add_chain for the first `rows` of a tile, 1 <= rows <= Rows.
template <int Rows, int Vectors, class Out, class A>
ENGINE_INLINE void add_chain_to_rows(int64_t rows, VectorRows sums, Out out, const A& operand, const float* b,
                                     int64_t ldb, int64_t k) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return add_chain_to_rows<Rows - 1, Vectors>(rows, sums, out, operand, b, ldb, k);
  }
  add_chain<Rows, Vectors>(sums, out, operand, b, ldb, {0, k});
}

/// The part of c, from row i and column j on, that a tile computes. Columns of c may be strided, and fewer than the
/// vectors of the tile hold.
struct TileOfC {
  const GemmArgs& op;
  int64_t i, j, rows, columns;

  ENGINE_INLINE float* at(int64_t r, int v) const { return op.c + (i + r) * op.c_row + (j + v * kWidth) * op.c_column; }

  /// The number of columns from vector v on.
  ENGINE_INLINE int64_t columns_from(int v) const { return columns - v * kWidth; }

  ENGINE_INLINE vf load_vector(int64_t r, int v) const {
    const int64_t left = columns_from(v);
    if (op.c_column == 1) return left < kWidth ? load_partial(at(r, v), left) : load(at(r, v));
    return load_strided(at(r, v), op.c_column, left);
  }

  ENGINE_INLINE void store_vector(int64_t r, int v, vf sum) const {
    const int64_t left = columns_from(v);
    if (op.c_column == 1) return left < kWidth ? store_partial(at(r, v), sum, left) : store(at(r, v), sum);
    store_strided(at(r, v), op.c_column, sum, left);
  }

  /// Returns where the sums of the chains before are: nowhere at first, else in `tile`, to which c is copied.
  template <int Rows, int Vectors>
  ENGINE_INLINE VectorRows sums_before(vf (&tile)[Rows][Vectors]) const {
    if (op.first) return kFromZero;
    copy_to(tile[0], Rows, Vectors);
    return rows_of(tile);
  }

  /// c = tile, and after the last chain c = activation(tile + bias).
  template <class Act>
  __attribute__((noinline)) void store_tile(const vf* tile, int vectors) const {
    const float* bias = op.last && op.bias ? op.bias + (op.bias_by_row ? i : j) : nullptr;
    const float* by_row = op.bias_by_row ? bias : nullptr;
    for (int v = 0; v < vectors; ++v) {
      const int64_t left = columns_from(v);
      if (left <= 0) return;
      vf by_column{};
      if (bias && !by_row) by_column = left < kWidth ? load_partial(bias + v * kWidth, left) : load(bias + v * kWidth);
      for (int64_t r = 0; r < rows; ++r) {
        vf sum = tile[r * vectors + v];
        if (op.last) sum = Act::forward((sum + 0.0f) + (by_row ? broadcast(by_row[r]) : by_column));
        store_vector(r, v, sum);
      }
    }
  }

 private:
  __attribute__((noinline)) void copy_to(vf* tile, int tile_rows, int vectors) const {
    for (int r = 0; r < tile_rows; ++r) {
      for (int v = 0; v < vectors; ++v) {
        *tile++ = r < rows && columns_from(v) > 0 ? load_vector(r, v) : vf{};
      }
    }
  }
};

/// A tile goes from registers straight to c where it needs no epilogue: by way of memory, it takes 4 % longer at
/// m = n = k = 512.
template <class Act, int Rows, int Vectors, class A>
ENGINE_INLINE void gemm_tile(const GemmArgs& op, const A& a, const float* b, int64_t i, int64_t j, int64_t rows,
                             int64_t columns) {
  vf tile[Rows][Vectors];
  const TileOfC c{op, i, j, rows, columns};
  const VectorRows in_c{c.at(0, 0), op.c_row};
  const VectorRows partial{op.partial ? op.partial + j * op.partial_rows + i * kNr : nullptr, kNr};
  const bool whole_vectors = op.c_column == 1 && columns == Vectors * kWidth;
  const VectorRows sums = op.from_partial ? partial : whole_vectors && !op.first ? in_c : c.sums_before(tile);
  const bool has_epilogue = op.last && (op.bias || Act::kKind != Activation::kLinear);
  if (op.to_partial || (whole_vectors && !has_epilogue)) {
    return add_chain_to_rows<Rows, Vectors>(rows, sums, op.to_partial ? partial : in_c, a, b, op.b_row, op.k);
  }
  add_chain_to_rows<Rows, Vectors>(rows, sums, Tile{tile[0]}, a, b, op.b_row, op.k);
  c.template store_tile<Act>(tile[0], Vectors);
}

/// Returns the vector unchanged and in a register. Without this, GCC takes its lanes from where the shuffles took them.
ENGINE_INLINE vf opaque(vf v) {
#if defined(__SSE2__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
  return v;
}

/// out (Rows, Vectors * kWidth) = sums + A (Rows, k) B (k, columns) for column-major B: its columns are transposed in
/// registers, four rows of B at a time. With more rows, more cache lines would be in use at once, all of one cache set
/// where columns are a power of two apart. Column p of A is at a + p * next.
template <int Rows, int Vectors>
__attribute__((noinline)) void add_chain_by_columns(VectorRows before, Tile out, const GemmArgs& op, const float* a,
                                                    int64_t next, const float* b, int64_t columns) {
  constexpr int64_t kColumns = Vectors * kWidth;
  const float* column[kColumns];
  for (int64_t j = 0; j < kColumns; ++j) column[j] = b + (j < columns ? j : 0) * op.b_column;
  // Copies of the last rows of B, fewer than four, and of their factors, filled up with zeros.
  float last_of_a[4][Rows] = {}, last_of_b[kColumns][4] = {};
  vf sums[Rows][Vectors] = {};
  int64_t p = 0;
  for (int64_t left = op.k; left > 0; left -= 4, p += 4, a += 4 * next) {
    if (left < 4) {
      for (int64_t i = 0; i < left; ++i) std::memcpy(last_of_a[i], a + i * next, sizeof last_of_a[i]);
      for (int64_t j = 0; j < kColumns; ++j) {
        for (int64_t i = 0; i < left; ++i) last_of_b[j][i] = column[j][p + i];
        column[j] = last_of_b[j];
      }
      a = last_of_a[0];
      next = Rows;
      p = 0;
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      vf terms[4];
      load_four_columns(terms, [&](int j) { return column[v * kWidth + j] + p; });
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const vf term = opaque(terms[i]);
#pragma GCC unroll 12
        for (int r = 0; r < Rows; ++r) sums[r][v] = fma(broadcast(a[i * next + r]), term, sums[r][v]);
      }
    }
  }
  if (before.data) add_rows(sums, before);
  store_rows(sums, out);
}

/// One row of c, Vectors vectors at a time, and ever halved numbers of them for what remains.
template <class Act, int Vectors>
ENGINE_INLINE void gemm_row(const GemmArgs& op, const float* b, int64_t j, int64_t columns) {
  for (; columns > (Vectors - 1) * kWidth; columns -= Vectors * kWidth, j += Vectors * kWidth, b += Vectors * kWidth) {
    vf tile[1][Vectors];
    const TileOfC c{op, 0, j, 1, columns < Vectors * kWidth ? columns : Vectors * kWidth};
    add_chain<1, Vectors>(c.sums_before(tile), Tile{tile[0]}, ColumnMajor{op.a, op.a_column}, b, op.b_row, {0, op.k});
    c.template store_tile<Act>(tile[0], Vectors);
  }
  if constexpr (Vectors > 1) {
    if (columns > 0) gemm_row<Act, Vectors / 2>(op, b, j, columns);
  }
}

/// The last columns of plain B, less than a vector. `a(i)` is A from row i on; `Pads` says that it may be read beyond
/// its last row.
template <class Act, int Rows, bool Pads, class F>
ENGINE_INLINE void gemm_partial_vector(const GemmArgs& op, int64_t columns, F&& a) {
  const int64_t j = op.columns - columns;
  const auto compute_tile = [&](auto size, int64_t i) {
    constexpr int kRows = decltype(size)::value;
    vf tile[kRows][1];
    const TileOfC c{op, i, j, op.rows - i < kRows ? op.rows - i : kRows, columns};
    add_chain<kRows, 1>(c.sums_before(tile), Tile{tile[0]}, a(i), op.b + j, op.b_row, {0, op.k},
                        PartialVector{columns});
    c.template store_tile<Act>(tile[0], 1);
  };
  if constexpr (Pads) {
    for (int64_t i = 0; i < op.rows; i += Rows) compute_tile(Size<Rows>{}, i);
  } else {
    sweep<Rows>(0, op.rows, 1, compute_tile);
  }
}

template <class Act>
ENGINE_INLINE void gemm_single_row(const GemmArgs& op) {
  const int64_t partial = op.b_has_partial_vector ? op.columns % kWidth : 0, end = op.columns - partial;
  for (int64_t j = 0; j < end; j += kSingleRowNr) {
    const int64_t left = end - j;
    gemm_row<Act, kSingleRowVectors>(op, op.b + j * op.b_column, j, left < kSingleRowNr ? left : kSingleRowNr);
  }
  if constexpr (kMaskedLoads) {
    if (partial > 0)
      gemm_partial_vector<Act, 1, false>(op, partial, [&](int64_t) { return ColumnMajor{op.a, op.a_column}; });
  }
}

/// The most rows of c for which column-major B is transposed in registers instead of packed. A tile of AVX2 or of the
/// baseline leaves no registers for that beside more rows.
constexpr int64_t kMaxRowsByColumns = ENGINE_VECTOR_BYTES == 64 ? 3 * kMr : ENGINE_VECTOR_BYTES == 32 ? 4 : 1;

/// Up to Rows rows of c from row i on, computed as if they were the next multiple of 4: packed A has pads.
template <class Act, int Rows>
ENGINE_INLINE void gemm_rows_by_columns(const GemmArgs& op, int64_t i, int64_t rows) {
  if constexpr (Rows > 4) {
    if (rows <= Rows - 4) return gemm_rows_by_columns<Act, Rows - 4>(op, i, rows);
  }
  constexpr int kVectors = Rows == 1 ? kVectorsPerLine : 1;
  constexpr int64_t kColumns = kVectors * kWidth;
  const float* a = op.a_packed ? op.a + i * op.k : op.a;
  for (int64_t j = 0; j < op.columns; j += kColumns) {
    vf tile[Rows][kVectors];
    const TileOfC c{op, i, j, rows, op.columns - j < kColumns ? op.columns - j : kColumns};
    add_chain_by_columns<Rows, kVectors>(c.sums_before(tile), Tile{tile[0]}, op, a, op.a_packed ? kMr : op.a_column,
                                         op.b + j * op.b_column, c.columns);
    c.template store_tile<Act>(tile[0], kVectors);
  }
}

template <class Act>
ENGINE_INLINE void gemm_by_columns(const GemmArgs& op) {
  if (!op.a_packed) return gemm_rows_by_columns<Act, 1>(op, 0, 1);
  constexpr int kMost = kMaxRowsByColumns < kMr ? kMaxRowsByColumns : kMr;
  for (int64_t i = 0; i < op.rows; i += kMr) {
    const int64_t left = op.rows - i;
    gemm_rows_by_columns<Act, kMost>(op, i, left < kMr ? left : kMr);
  }
}

/// The columns of c that one panel of B gives. The panel stays in the L1 cache while the rows of A pass by.
template <class Act, int Rows, int Vectors, class F>
ENGINE_INLINE void gemm_panel(const GemmArgs& op, const float* b, int64_t j, int64_t columns, F&& a) {
  for (int64_t i = 0; i < op.rows; i += Rows) {
    const int64_t rows = op.rows - i < Rows ? op.rows - i : Rows;
    gemm_tile<Act, Rows, Vectors>(op, a(i), b, i, j, rows, columns);
  }
}

template <class Act, int Rows, bool Pads, class F>
ENGINE_INLINE void gemm_panels(const GemmArgs& op, F&& a) {
  const int64_t partial = op.b_has_partial_vector ? op.columns % kWidth : 0, end = op.columns - partial;
  for (int64_t j = 0; j < end; j += kNr) {
    const int64_t columns = end - j < kNr ? end - j : kNr;
    const float* b = op.b + j * op.b_column;
    if (columns > kWidth) {
      gemm_panel<Act, Rows, kTileVectors>(op, b, j, columns, a);
    } else {
      gemm_panel<Act, Rows, 1>(op, b, j, columns, a);
    }
  }
  if constexpr (kMaskedLoads) {
    if (partial > 0) gemm_partial_vector<Act, Rows, Pads>(op, partial, a);
  }
}

template <class Act>
void gemm(const GemmArgs& op) {
  if (op.b_by_columns) {
    gemm_by_columns<Act>(op);
  } else if (op.nr == kSingleRowNr) {
    gemm_single_row<Act>(op);
  } else if (op.a_packed) {
    gemm_panels<Act, kMr, true>(op, [&](int64_t i) { return PackedRows{op.a + i * op.k}; });
  } else if (op.a_column == 1) {
    gemm_panels<Act, kTileRows, false>(op, [&](int64_t i) { return RowMajor{op.a + i * op.a_row, op.a_row}; });
  } else {
    gemm_panels<Act, kTileRows, false>(op, [&](int64_t i) { return ColumnMajor{op.a + i, op.a_column}; });
  }
}

/// a (k,) . b (k,): kWidth chains at a time, each in one lane.
float dot(const DotArgs& op) {
  const float zeros[kChain] = {};
  float last_of_a[kChain] = {}, last_of_b[kChain] = {};
  float total = 0.0f;
  for (int64_t begin = 0; begin < op.k; begin += kWidth * kChain) {
    const float *a[kWidth], *b[kWidth];
    for (int64_t i = 0; i < kWidth; ++i) {
      const int64_t at = begin + i * kChain, left = op.k - at;
      a[i] = left > 0 ? op.a + at : zeros;
      b[i] = left > 0 ? op.b + at : zeros;
      if (left <= 0 || left >= kChain) continue;
      std::memcpy(last_of_a, a[i], static_cast<size_t>(left) * sizeof(float));
      std::memcpy(last_of_b, b[i], static_cast<size_t>(left) * sizeof(float));
      a[i] = last_of_a;
      b[i] = last_of_b;
    }
    vf sums{};
    for (int64_t p = 0; p < kChain && begin + p < op.k; p += 4) {
      vf terms_of_a[4], terms_of_b[4];
      load_four_columns(terms_of_a, [&](int i) { return a[i] + p; });
      load_four_columns(terms_of_b, [&](int i) { return b[i] + p; });
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sums = fma(terms_of_a[i], terms_of_b[i], sums);
    }
    for (int i = 0; i < kWidth; ++i) total = total + sums[i];
  }
  return total + 0.0f;
}

}  // namespace
}  // namespace engine::ENGINE_ISA
