// Applies activations to results in an array of the caller, which has no padding at the ends of its rows.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine::cpu {

/// A matrix (rows, columns) in memory: element (i, j) is at[i * row + j * column].
struct MatrixView {
  float* at;
  int64_t row, column;
  int64_t rows, columns;
};

/// Applies an elementwise activation in place.
void activate(const KernelTable& kernels, Activation activation, const float* parameters, MatrixView matrix);

/// Applies an activation of whole rows, such as softmax, in place to the rows `rows` of c, which is contiguous with
/// `columns` columns. The kernel needs padded rows, so each row is copied to `padded` and back.
void activate_rows(const KernelTable& kernels, Activation activation, float* c, int64_t columns, Range rows,
                   float* padded);

}  // namespace engine::cpu
