// Loads and stores of vectors whose floats lie at a stride in memory, such as a column of a matrix.
#pragma once
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

// Not inlined: written out for every optimizer alone they would make up 60 kB.

/// Up to kWidth floats, `ld` apart. Whole vectors by way of registers: a load of what was stored in parts waits for it.
__attribute__((noinline)) inline vf load_strided(const float* from, int64_t ld, int64_t count) {
  if (count < kWidth) {
    float lane[kWidth] = {};
    for (int64_t l = 0; l < count; ++l) lane[l] = from[l * ld];
    return load(lane);
  }
  vf v{};
#pragma GCC unroll 16
  for (int l = 0; l < kWidth; ++l, from += ld) v[l] = *from;
  return v;
}

__attribute__((noinline)) inline void store_strided(float* to, int64_t ld, vf v, int64_t count) {
  float lane[kWidth];
  store(lane, v);
  for (int64_t l = 0; l < kWidth && l < count; ++l) to[l * ld] = lane[l];
}

}  // namespace
}  // namespace engine::ENGINE_ISA
