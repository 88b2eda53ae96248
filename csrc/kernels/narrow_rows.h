// Losses and metrics of rows with at most kLineFloats columns, kWidth rows at a time: each lane computes one row. One
// row after the other would wait for its maximum, its sums and its logarithm, 52 ns each.
#pragma once
#include "kernels/losses.h"
#include "kernels/metrics.h"
#include "kernels/strided_vectors.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// Fewer rows than this are as fast one by one.
constexpr int64_t kMinGroupedRows = 3;

/// Element [j] holds column j of kWidth rows.
using Columns = vf[kLineFloats];

/// Sets columns from n on to zero. Not inlined: GCC would use a string instruction, which takes a tenth of a loss.
__attribute__((noinline)) inline void clear_pads(Columns& columns, int64_t n) {
  for (int64_t j = n; j < kLineFloats; ++j) columns[j] = vf{};
}

/// Rows of up to so many columns are read column by column; wider ones are transposed in squares.
constexpr int64_t kReadColumnwise = 2;

/// The same element of up to kWidth rows: `element(i)`
template <class F>
ENGINE_INLINE vf gather_column(int64_t rows, F&& element) {
  float values[kWidth] = {};
  for (int64_t i = 0; i < rows; ++i) values[i] = element(i);
  return load(values);
}

/// `row(i, part)` gives the vector number `part` of row i.
template <class F>
ENGINE_INLINE void gather_columns(Columns& columns, int64_t rows, F&& row) {
#pragma GCC unroll 4
  for (int part = 0; part < kVectorsPerLine; ++part) {
    vf square[kWidth] = {};
    if (rows == kWidth) {  // unrolled, so that the square stays in registers
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) square[i] = row(i, part);
    } else {
      for (int64_t i = 0; i < rows; ++i) square[i] = row(i, part);
    }
    transpose_square(square);
    std::memcpy(columns + part * kWidth, square, sizeof square);
  }
}

/// columns = rows of x, transposed. This and store_columns are not inlined: all losses share the code.
__attribute__((noinline)) void load_columns(Columns& columns, const float* x, int64_t ld, int64_t rows, int64_t n) {
  if (n <= kReadColumnwise) {
    for (int64_t j = 0; j < n; ++j) columns[j] = load_strided(x + j, ld, rows);
    return;
  }
  gather_columns(columns, rows, [&](int64_t i, int part) { return load(x + i * ld + part * kWidth); });
}

[[maybe_unused]] __attribute__((noinline)) void store_columns(const Columns& columns, float* y, int64_t ld,
                                                              int64_t rows, int64_t n) {
  if (n <= kReadColumnwise) {
    float values[kReadColumnwise][kWidth];
    std::memcpy(values, columns, sizeof values);
    for (int64_t i = 0; i < rows; ++i, y += ld) {
#pragma GCC unroll 4
      for (int part = 0; part < kVectorsPerLine; ++part) store(y + part * kWidth, vf{});
      for (int64_t j = 0; j < n; ++j) y[j] = values[j][i];
    }
    return;
  }
#pragma GCC unroll 4
  for (int part = 0; part < kVectorsPerLine; ++part) {
    vf square[kWidth];
    std::memcpy(square, columns + part * kWidth, sizeof square);
    transpose_square(square);
    if (rows == kWidth) {
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) store(y + i * ld + part * kWidth, square[i]);
    } else {
      for (int64_t i = 0; i < rows; ++i) store(y + i * ld + part * kWidth, square[i]);
    }
  }
}

/// Reduces the columns, in place, in the tree in which LaneSum and `fold` reduce lanes.
template <class F>
ENGINE_INLINE vf fold_columns(Columns& tree, F&& combine) {
#pragma GCC unroll 4
  for (int half = kLineFloats / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < half; ++j) tree[j] = combine(tree[j], tree[j + half]);
  }
  return tree[0];
}

/// Targets of kWidth rows; `at(j)` is column j.
template <Target Kind>
struct TargetColumns {
  Columns dense;
  vi label{};

  __attribute__((noinline)) TargetColumns(const Targets& targets, Range rows, int64_t n, int32_t ignored = -1) {
    if constexpr (Kind == Target::kSparse) {
      int32_t labels[kWidth] = {};
      for (int64_t b = rows.begin; b < rows.end; ++b) {
        labels[b - rows.begin] = TargetRow<Kind>(targets, b, n, ignored).label;
      }
      std::memcpy(&label, labels, sizeof label);
    } else if (n <= kReadColumnwise) {
      for (int64_t j = 0; j < n; ++j) {
        dense[j] = gather_column(rows.end - rows.begin,
                                 [&](int64_t i) { return TargetRow<Kind>(targets, rows.begin + i, n).dense[j]; });
      }
    } else {
      gather_columns(dense, rows.end - rows.begin, [&](int64_t i, int part) {
        return load_row(TargetRow<Kind>(targets, rows.begin + i, n).dense, part * kWidth, n);
      });
    }
  }

  ENGINE_INLINE vf at(int64_t j) const {
    if constexpr (Kind == Target::kSparse) {
      return label == static_cast<int32_t>(j) - vi{} ? broadcast(1.0f) : vf{};
    } else {
      return dense[j];
    }
  }
};

/// The factors of the gradients of up to kWidth rows.
ENGINE_INLINE vf row_scales(const LossRowsArgs& op, Range rows) {
  float scales[kWidth] = {};
  for (int64_t b = rows.begin; b < rows.end; ++b) scales[b - rows.begin] = row_scale(op, b);
  return load(scales);
}

/// Up to kWidth rows of a loss, with the interface and the bits of LossRow for a single one.
struct LossColumns {
  using V = vf;
  using Each = vf;

  Columns x, y, dx;
  int64_t n;
  float smoothing;
  vf scale;
  const float* parameters;
  bool binary, wants_gradient;

  /// Columns from n on are zero where rows are stored.
  ENGINE_INLINE LossColumns(const LossRowsArgs& op, Range rows)
      : n(op.n),
        smoothing(op.label_smoothing),
        scale(row_scales(op, rows)),
        parameters(op.parameters),
        binary(op.binary),
        wants_gradient(op.dx != nullptr) {
    load_columns(x, op.x + rows.begin * op.ld, op.ld, rows.end - rows.begin, n);
    clear_pads(y, n);
    clear_pads(dx, n);
  }

  ENGINE_INLINE vf at(int64_t j) const { return x[j]; }
  ENGINE_INLINE vf without_pads(int64_t, vf v) const { return v; }
  ENGINE_INLINE void keep(int64_t j, vf p) { y[j] = p; }
  ENGINE_INLINE vf kept(int64_t j) const { return y[j]; }
  ENGINE_INLINE bool has_gradient() const { return wants_gradient; }
  ENGINE_INLINE void set_gradient(int64_t j, vf g) { dx[j] = g; }
  ENGINE_INLINE vf gradient(int64_t j) const { return dx[j]; }

  template <class F>
  ENGINE_INLINE void for_columns(F&& f) const {
    for (int64_t j = 0; j < n; ++j) f(j);
  }

  template <int N, class F>
  ENGINE_INLINE void sum(vf (&totals)[N], F&& add) const {
    Columns terms[N];
    for_columns([&](int64_t j) {
      vf sums[N] = {};
      add(j, sums);
#pragma GCC unroll 3
      for (int s = 0; s < N; ++s) terms[s][j] = sums[s];
    });
#pragma GCC unroll 3
    for (int s = 0; s < N; ++s) {
      clear_pads(terms[s], n);
      totals[s] = fold_columns(terms[s], [](vf a, vf b) { return a + b; });
    }
  }

  template <class F>
  ENGINE_INLINE vf largest(F&& f) const {
    const vf lowest = broadcast(-kInfinity);
    Columns terms;
    for_columns([&](int64_t j) { terms[j] = larger_of(f(j), lowest); });
    for (int64_t j = n; j < kLineFloats; ++j) terms[j] = lowest;
    return fold_columns(terms, larger_of);
  }

  template <class F>
  static ENGINE_INLINE vf apply(F&& f, vf values) {
    return f(values);
  }
};

/// Up to kWidth rows of a loss.
template <class L, Target Kind>
__attribute__((flatten)) void loss_columns(const LossRowsArgs& op, Range rows) {
  const int64_t count = rows.end - rows.begin, at = rows.begin * op.ld;
  const TargetColumns<Kind> target(op.targets, rows, op.n, op.ignored);
  LossColumns r(op, rows);
  const vf losses = L::row(r, target);
  std::memcpy(op.losses + rows.begin, &losses, static_cast<size_t>(count) * sizeof(float));
  if (op.y_pred && gives_probabilities(L::kKind)) store_columns(r.y, op.y_pred + at, op.ld, count, op.n);
  if (op.dx) store_columns(r.dx, op.dx + at, op.ld, count, op.n);
}

/// Column of the first largest element.
template <class F>
ENGINE_INLINE vi argmax_columns(int64_t n, F&& column) {
  vf most = column(0);
  vi best{};
  for (int64_t j = 1; j < n; ++j) {
    const vf x = column(j);
    const vi more = x > most;
    most = more ? x : most;
    best = more ? static_cast<int32_t>(j) - vi{} : best;
  }
  return best;
}

/// CategoricalAccuracy of up to kWidth rows
template <Target Kind>
void categorical_accuracy_columns(const MetricRowsArgs& op, Range rows) {
  const int64_t count = rows.end - rows.begin;
  const TargetColumns<Kind> target(op.targets, rows, op.n);
  Columns y;
  load_columns(y, op.y_pred + rows.begin * op.ld, op.ld, count, op.n);
  const vi guess = argmax_columns(op.n, [&](int64_t j) { return y[j]; });
  vi truth = target.label;
  if constexpr (Kind == Target::kDense) truth = argmax_columns(op.n, [&](int64_t j) { return target.at(j); });
  const vf values = guess == truth ? broadcast(1.0f) : vf{};
  std::memcpy(op.values + rows.begin, &values, static_cast<size_t>(count) * sizeof(float));
}

/// Calls columns(range) for groups of narrow rows, or by_row(op) where that is not slower.
template <class Op, class Columns, class ByRow>
ENGINE_INLINE void in_groups(const Op& op, Columns&& columns, ByRow&& by_row) {
  if (op.n > kLineFloats || op.rows.end - op.rows.begin < kMinGroupedRows) return by_row(op);
  for (int64_t b = op.rows.begin; b < op.rows.end; b += kWidth) {
    columns(Range{b, op.rows.end < b + kWidth ? op.rows.end : b + kWidth});
  }
}

template <class L, Target Kind>
void losses(const LossRowsArgs& op) {
  in_groups(op, [&](Range rows) { loss_columns<L, Kind>(op, rows); }, loss_rows<L, Kind>);
}

template <Target Kind>
void categorical_accuracy_rows(const MetricRowsArgs& op) {
  in_groups(
      op, [&](Range rows) { categorical_accuracy_columns<Kind>(op, rows); }, metric_rows<CategoricalAccuracy, Kind>);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
