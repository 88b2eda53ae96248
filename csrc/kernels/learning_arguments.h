// Argument structs of the kernels that step, constrain, average or penalize weights.
#pragma once
#include <cstddef>
#include <cstdint>

#include "formulas/kinds.h"
#include "kernels/layout.h"

namespace engine {

/// Room for the constants of any fused optimizer.
inline constexpr size_t kCoefficientBytes = 4 * 64;

/// A weight matrix with its state: slots have the layout of the weights.
struct Weights {
  float* values = nullptr;
  float* slots[kMaxSlots] = {};
  double l2 = 0.0;
  double decay = 0.0;  // share of the learning rate by which every step shortens the weights
};

/// Whether anything shrinks the kernel or the bias of a layer.
inline constexpr Shrinkage shrinkage(const Weights& kernel, const Weights& bias) {
  const bool none = kernel.l2 == 0.0 && kernel.decay == 0.0 && bias.l2 == 0.0 && bias.decay == 0.0;
  return none ? Shrinkage::kNone : Shrinkage::kSome;
}

/// Part of a panel of weights, and of another array of the same layout
struct WeightBlock {
  float* weights;
  float* other;
  int64_t ld;
  Range rows, columns;
};

/// weights -= learning_rate decay weights, then stepped by clip(scale gradient, -limit, limit); rules that give a
/// direction leave it in the gradient's place instead
struct WeightStep {
  Weights weights;
  float* gradient;  // with ld
  int64_t ld;
  Range rows, columns;
  OptimizerStep step;
  float scale, limit;
};

/// Scales the rows of a matrix in panels so that the norm of each row, or of the whole matrix, keeps the limits.
struct RowNorms {
  float* weights;  // (rows, n) in panels
  int64_t rows, n;
  Range range;
  bool together;
  NormLimits limits;
};

/// Adafactor's running means of squares: of each row in column 0 of `of_rows`, of each column in row 0 of `of_columns`,
/// both laid out like the gradient in panels
struct FactoredMeans {
  const float* gradient;  // (rows, n) in panels
  float* of_rows;
  float* of_columns;
  int64_t rows, n;
  Range range;  // of rows, or of columns
  OptimizerStep step;
};

/// v (rows, columns) = of_rows / mean of_columns, gradient /= sqrt(v), for part of a panel
struct FactoredDirection {
  float* gradient;
  float* v;
  int64_t ld;
  const float* of_rows;  // of panel 0, `row_stride` apart
  int64_t row_stride;
  const float* of_columns;
  Range rows, columns;
  float mean;  // of of_rows
};

/// All of this for `matrices` (rows, n) that lie one after the other, without pads; means as above, in their places
struct FactoredFlat {
  float* gradient;
  float* v;
  float* of_rows;
  float* of_columns;
  int64_t matrices, rows, n;
  OptimizerStep step;
};

/// units (i, ...) = row i of weights (rows, columns) in panels, or column i, over its norm
struct UnitRows {
  const float* weights;
  int64_t rows, columns;
  bool columns_are_rows;
  float* units;
  int64_t ld;
  float* norms;
  Range range;
};

/// sums[i] = sum over j != i of |u_i u_j| for units u (size, width), and where wanted the slopes of `factor` times all
/// of them by the rows that had `norms`
struct Orthogonal {
  const float* units;
  int64_t size, width, ld;
  const float* norms;
  float* slopes;  // (size, width) with ld, or null
  float* sums;
  double factor;
  Range range;
};

/// sums[b] = sum of l1 |x| + l2 x^2 over row b of x (rows, n)
struct RowPenalties {
  const float* x;
  int64_t ld, n;
  Range rows;
  double l1, l2;
  float* sums;
};

/// sums (columns,) = column sums of squares or magnitudes of w (rows, columns)
struct ColumnSums {
  const float* w;
  int64_t ld, rows;
  float* sums;
  Range columns;
};

}  // namespace engine
