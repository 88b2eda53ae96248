// Activations of results that lie in an array of the caller's, without padding.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine {

/// Element (i, j) at i * row + j * column.
struct Block {
  float* at;
  int64_t row, column;
  int64_t rows, columns;
};

/// An elementwise activation, in place.
void activate(const KernelTable& kernels, Activation activation, const float* parameters, Block block);

/// A row-wise activation, in place, of rows of contiguous c (rows, columns), by way of a padded copy.
void activate_rows(const KernelTable& kernels, Activation activation, float* c, int64_t columns, Range rows,
                   float* padded);

}  // namespace engine
