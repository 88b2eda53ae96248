// Losses over the rows of a batch, one row at a time with its columns in the lanes of vectors; narrow_rows.h has rows
// in the lanes. Class indices and dense targets share every formula: an index is read as its one-hot row.
#pragma once
#include "formulas/losses.h"
#include "kernels/rows.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Up to kWidth floats of an unpadded row; lanes from n on are zero.
ENGINE_INLINE vf load_row(const float* row, int64_t j, int64_t n) {
  if (j + kWidth <= n) return load(row + j);
  return j < n ? load_partial(row + j, n - j) : vf{};
}

/// Where row `b` of a batch lies in the data set. Not inlined, as every loss and metric asks for it.
__attribute__((noinline)) inline int64_t data_row(const Targets& targets, int64_t b) { return targets.row(b); }

/// The target of one row; `at(j)` gives lanes j ... of it, 0 from column n on.
template <Target Kind>
struct TargetRow {
  const float* dense;
  int32_t label;
  int64_t n;

  /// A label that is `ignored` becomes a row of zeros, which no formula charges for.
  TargetRow(const Targets& targets, int64_t b, int64_t width, int32_t ignored = -1)
      : dense(nullptr), label(0), n(width) {
    const int64_t row = data_row(targets, b);
    if constexpr (Kind == Target::kSparse) {
      label = targets.labels[row] == ignored ? -1 : targets.labels[row];
    } else {
      dense = targets.dense + row * width;
    }
  }

  /// Element j, not of a pad.
  ENGINE_INLINE float one(int64_t j) const {
    if constexpr (Kind == Target::kSparse) {
      return label == j ? 1.0f : 0.0f;
    } else {
      return dense[j];
    }
  }

  ENGINE_INLINE vf at(int64_t j) const {
    if constexpr (Kind == Target::kSparse) {
      return iota(static_cast<int32_t>(j)) == label - vi{} ? broadcast(1.0f) : vf{};
    } else {
      return load_row(dense, j, n);
    }
  }
};

/// One row of a loss, as formulas/losses.h asks for it: x (n,) -> loss, y (n,) and dx (n,), whose pads become zero.
struct LossRow : Row {
  const float* x;
  float* y;
  float* dx;
  float smoothing, scale;
  const float* parameters;
  bool binary;

  ENGINE_INLINE LossRow(const LossRowsArgs& op, int64_t b, float scale_of_gradient)
      : Row{op.n},
        x(op.x + b * op.ld),
        y(op.y_pred ? op.y_pred + b * op.ld : nullptr),
        dx(op.dx ? op.dx + b * op.ld : nullptr),
        smoothing(op.label_smoothing),
        scale(scale_of_gradient),
        parameters(op.parameters),
        binary(op.binary) {}

  ENGINE_INLINE vf at(int64_t j) const { return load(x + j); }

  /// Probabilities, which are what the model predicts where the loss reads logits.
  ENGINE_INLINE void keep(int64_t j, vf p) const { store(y + j, p); }
  ENGINE_INLINE vf kept(int64_t j) const { return load(y + j); }

  ENGINE_INLINE bool has_gradient() const { return dx != nullptr; }
  ENGINE_INLINE void set_gradient(int64_t j, vf slope) const { store(dx + j, without_pads(j, slope)); }
  ENGINE_INLINE vf gradient(int64_t j) const { return load(dx + j); }
};

/// The factor of the gradient of row b.
ENGINE_INLINE float row_scale(const LossRowsArgs& op, int64_t b) {
  return op.sample_weight ? op.scale * op.sample_weight[data_row(op.targets, b)] : op.scale;
}

/// Flattened, as loss_columns is: a formula has its terms in two places, so that GCC would not inline them.
template <class L, Target Kind>
__attribute__((flatten)) void loss_rows(const LossRowsArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const TargetRow<Kind> target(op.targets, b, op.n, op.ignored);
    LossRow row(op, b, row_scale(op, b));
    op.losses[b] = L::row(row, target);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
