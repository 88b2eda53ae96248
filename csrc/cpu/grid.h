// How one matrix product is cut into cells, and what is packed for one.
#pragma once
#include <cstdint>

#include "cpu/gemm.h"

namespace engine {

struct Grid {
  int64_t down = 1, across = 1;  // cells
  int64_t panel;                 // columns of a panel of b
  bool packs_a, packs_b, reads_across;
  bool packs_parts;                                        // columns of b that are less than a vector
  int64_t block_k;                                         // of b, packed at a time
  int64_t a_floats = 0, b_floats = 0, partial_floats = 0;  // scratch of one thread

  int64_t floats() const { return a_floats + b_floats + partial_floats; }
  int64_t cells() const { return down * across; }
};

/// For as many cells as there are threads to keep busy.
Grid plan_grid(const GemmShape& shape, const Product& p, int64_t cells);

}  // namespace engine
