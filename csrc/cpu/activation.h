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
void activate(const KernelTable& kernels, Activation activation, Block block);

/// In place, row by row of contiguous c (rows, columns), by way of a padded copy.
void softmax_rows(const KernelTable& kernels, float* c, int64_t columns, Range rows, float* padded);

}  // namespace engine
