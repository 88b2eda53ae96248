// Sums over the rows or columns of a matrix.
#pragma once
#include "kernels/microtile.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Sums over rows in the order of products: in chains of kChain terms, which are added in order. add_term(row, v, sum)
/// returns sum + the term of a row for vector v. Each addition waits for the one before, so that several vectors take
/// as long as one.
template <int Vectors, class F>
ENGINE_INLINE void sum_rows(Range rows, vf (&total)[Vectors], F&& add_term) {
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) total[v] = vf{};
  for (int64_t begin = rows.begin; begin < rows.end; begin += kChain) {
    const int64_t end = rows.end < begin + kChain ? rows.end : begin + kChain;
    vf sum[Vectors]{};
    for (int64_t i = begin; i < end; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[v] = add_term(i, v, sum[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) total[v] = total[v] + sum[v];
  }
}

/// The sum over rows of one vector: add_term(row, sum)
template <class F>
ENGINE_INLINE vf sum_of_rows(Range rows, F&& add_term) {
  vf total[1];
  sum_rows(rows, total, [&](int64_t i, int, vf sum) { return add_term(i, sum); });
  return total[0];
}

/// The sum over rows of each column, for up to four vectors of columns at a time: calls f(first column, sums, vectors).
/// term(row, column, sum) returns sum + the term.
template <class Term, class F>
ENGINE_INLINE void sum_columns(Range rows, Range columns, Term&& term, F&& f) {
  sweep_vectors<4>(columns, [&](auto vectors, int64_t j) {
    constexpr int kVectors = decltype(vectors)::value;
    vf sums[kVectors];
    sum_rows(rows, sums, [&](int64_t i, int v, vf sum) { return term(i, j + v * kWidth, sum); });
    f(j, sums, kVectors);
  });
}

struct Square {
  static ENGINE_INLINE vf add(vf sum, vf w) { return fma(w, w, sum); }
};

struct Magnitude {
  static ENGINE_INLINE vf add(vf sum, vf w) { return sum + abs(w); }
};

/// Stores the sums by column; the caller adds these.
template <class Term>
void column_sums(const ColumnSumsArgs& op) {
  sum_columns(
      {0, op.rows}, op.columns,
      [&](int64_t i, int64_t j, vf sum) { return Term::add(sum, load(op.w + i * op.ld + j)); },
      [&](int64_t j, const vf* sums, int vectors) {
        for (int v = 0; v < vectors; ++v) store(op.sums + j + v * kWidth, sums[v]);
      });
}

/// Calls f(pointer, first column) for every vector of row `i` of a matrix in panels.
template <class F>
ENGINE_INLINE void for_row(float* matrix, int64_t rows, int64_t n, int64_t i, F&& f) {
  Panels(rows, n).each({0, n}, [&](const Panel& panel) {
    float* row = matrix + panel.offset + i * panel.width;
    for (int64_t j = 0; j < panel.width; j += kWidth) f(row + j, panel.first + j);
  });
}

/// Sum of squares of a row, element j in lane j mod kLineFloats.
inline double row_squares(float* matrix, int64_t rows, int64_t n, int64_t i) {
  LaneSum sum;
  for_row(matrix, rows, n, i, [&](const float* at, int64_t j) {
    vf& part = sum.part[j / kWidth % kVectorsPerLine];
    const vf w = masked(load(at), j, n, vf{});
    part = fma(w, w, part);
  });
  return static_cast<double>(sum.total());
}

}  // namespace
}  // namespace engine::ENGINE_ISA
