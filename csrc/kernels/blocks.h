// Loops over a block of a matrix with padded rows, one vector at a time.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Calls f(offset) for every vector of a block of padded rows.
template <class F>
ENGINE_INLINE void for_block(Range rows, Range columns, int64_t ld, F&& f) {
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (int64_t j = columns.begin; j < columns.end; j += kWidth) f(b * ld + j);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
