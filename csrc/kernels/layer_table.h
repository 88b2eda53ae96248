// The part of the door that belongs to layers which are no products; apart, since these are many and change often.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine {

/// y (rows, count) = x (rows, ...) [:, from], 0 where `from` is -1; backward dx (rows, columns) from dy (rows, count),
/// with x = dy and y = dx
struct Take {
  const float* x;
  int64_t ldx;
  float* y;
  int64_t ldy;
  const int32_t* from;  // (count,)
  int64_t count, columns;
  Range rows;
};

struct LayerTable {
  void (*take)(const Take&);
  void (*take_backward)(const Take&);
};

}  // namespace engine
