// Decides how a matrix product c = a b is divided into cells, and what is copied into packed form for it.
#pragma once
#include <cstdint>

#include "cpu/gemm.h"

namespace engine::cpu {

/// The cells are rectangles of c, which threads compute independently of each other.
struct Grid {
  int64_t down = 1, across = 1;  // cells along the rows of c, and along its columns
  int64_t packed_columns;        // in a panel of packed b
  bool packs_a, packs_b;         // whether a cell copies its rows of a, or its columns of b, into packed form
  bool reads_by_columns;         // whether the kernel for few rows reads b, whose columns are contiguous, in place
  bool packs_partial_vector;     // whether the last columns of b, fewer than a vector, are packed even if `packs_b` is
                                 // false
  int64_t block_k;               // rows of b that are packed at a time
  int64_t a_floats = 0, b_floats = 0, partial_floats = 0;  // scratch of one thread: packed a, packed b, partial sums

  int64_t floats() const { return a_floats + b_floats + partial_floats; }
  int64_t cells() const { return down * across; }
};

/// Returns a grid of at most `cells` cells for the product: one for each thread.
Grid plan_grid(const GemmShape& shape, const Product& p, int64_t cells);

}  // namespace engine::cpu
