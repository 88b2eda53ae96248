// Sums over the rows or columns of a matrix.
#pragma once
#include "kernels/microtile.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// add_term(row, sum) for every row, in chains of kChain terms, which are added in order: what products do with theirs.
template <class F>
ENGINE_INLINE vf sum_of_rows(Range rows, F&& add_term) {
  vf total{};
  for (int64_t begin = rows.begin; begin < rows.end; begin += kChain) {
    const int64_t end = rows.end < begin + kChain ? rows.end : begin + kChain;
    vf sum{};
    for (int64_t i = begin; i < end; ++i) sum = add_term(i, sum);
    total = total + sum;
  }
  return total;
}

struct Square {
  static ENGINE_INLINE vf add(vf sum, vf w) { return fma(w, w, sum); }
};

struct Magnitude {
  static ENGINE_INLINE vf add(vf sum, vf w) { return sum + abs(w); }
};

/// By column; the reader adds the columns up.
template <class Term>
void column_sums(const ColumnSums& op) {
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    store(op.sums + j,
          sum_of_rows({0, op.rows}, [&](int64_t i, vf sum) { return Term::add(sum, load(op.w + i * op.ld + j)); }));
  }
}

/// Calls f(pointer, first column) for every vector of row `i` of a matrix in panels.
template <class F>
ENGINE_INLINE void for_row(float* panels, int64_t rows, int64_t n, int64_t i, F&& f) {
  for (int64_t p = 0; p * kPanel < n; ++p) {
    const int64_t width = panel_width(n, p);
    float* row = panels + panel_offset(rows, p) + i * width;
    for (int64_t j = 0; j < width; j += kWidth) f(row + j, p * kPanel + j);
  }
}

/// Sum of squares of a row, element j in lane j mod kLane.
inline double row_squares(float* panels, int64_t rows, int64_t n, int64_t i) {
  LaneSum sum;
  for_row(panels, rows, n, i, [&](const float* at, int64_t j) {
    vf& part = sum.part[j / kWidth % kParts];
    const vf w = masked(load(at), j, n, vf{});
    part = fma(w, w, part);
  });
  return static_cast<double>(sum.total());
}

}  // namespace
}  // namespace engine::ENGINE_ISA
