// The part of the door for a narrow product whose terms threads sum apart.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine {

/// 2^level slices of a narrow product's terms, from number `first` on, a multiple of so many.
struct SliceGroup {
  int64_t first;
  int level;
};

/// y (rows, up to kLane) = the sum of groups that follow one another from slice 0 on
struct SumPartials {
  const float* partials;  // (slices, rows, kLane): of each group at its first slice
  int64_t stride;         // floats from one slice to the next
  const SliceGroup* groups;
  int64_t count;
  float* y;
  int64_t ldy;
  Range rows;
};

}  // namespace engine
