// General matrix products of any layout, on a team of threads.
#pragma once
#include <cstdint>
#include <vector>

#include "formulas/kinds.h"
#include "kernels/layout.h"
#include "kernels/table.h"

namespace engine::cpu {

/// Distances of one axis of stacked matrices, in floats; zero where an operand is broadcast.
struct StackAxis {
  int64_t extent, a, b, c;
};

/// How a right operand (k, n) lies: by the strides, or as a kernel in panels, itself or its transpose.
enum class Layout { kStrides, kPanels, kTransposedPanels };

/// c (..., m, n) = activation(a (..., m, k) b (..., k, n) + bias), element (i, j) of a matrix at i * row + j * column.
/// Strides of a and b are of any sign; c overlaps nothing.
struct Product {
  int64_t m, n, k;
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_row, b_column;
  float* c;
  int64_t c_row, c_column;
  const float* bias;  // or null; (n,), or (m,) if `bias_by_row`
  bool bias_by_row;
  Activation activation;
  float parameters[kMaxActivationParameters];  // of the activation
  int64_t row_columns;                         // row-wise activations work on rows of so many contiguous elements of c
  std::vector<StackAxis> stack;
  // Of multiply_part alone, which knows no stack:
  const float* const* a_columns = nullptr;  // where columns of a lie anywhere, each contiguous; not in `a` then
  Layout b_layout = Layout::kStrides;
};

/// Multiply-adds that the product takes.
double multiply_adds(const Product& product);

/// On so many threads. Throws std::bad_alloc.
void multiply(const KernelTable& kernels, const Product& product, int threads);

/// Part (rows, columns) of one product of at least two rows, by the calling thread, with scratch of packing_floats
/// floats (kernels/packed_blocks.h) on a cache line. c is where the first of these rows and columns go. The columns of
/// a kernel in panels begin at a cache line.
void multiply_part(const KernelTable& kernels, const Product& product, Range rows, Range columns, float* scratch);

/// activation(a (k,) b (k,) + bias), both contiguous
float dot(const KernelTable& kernels, const float* a, const float* b, int64_t k, float bias, Activation activation,
          const float* parameters);

}  // namespace engine::cpu
