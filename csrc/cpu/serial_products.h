// Many products of one shape, computed by the calling thread; gemm.cpp has the code.
#pragma once
#include "cpu/grid.h"

namespace engine::cpu {

/// c = a b for matrices of one shape, one pair after the other.
class SerialProducts {
 public:
  /// A product without stack, with an elementwise activation, and with at least one row, column and term. `scratch` has
  /// packing_floats(rows or columns, whichever are more) floats (kernels/packed_blocks.h) on a cache line.
  SerialProducts(const KernelTable& kernels, const Product& product, float* scratch);
  /// The strides are those of the product.
  void run(const float* a, const float* b, float* c) const;

 private:
  const KernelTable& kernels_;
  Product p_;
  bool transposed_;
  Grid grid_;
  float* scratch_;
};

}  // namespace engine::cpu
