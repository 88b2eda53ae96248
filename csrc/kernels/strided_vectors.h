// Loads and stores vectors whose floats are strided in memory, such as a part of a column.
#pragma once
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

/// Loads `count` floats, at most kWidth, that are `ld` apart; the other lanes are zero. Whole vectors are put together
/// in registers: a vector load from memory would have to wait until the single floats are stored there.
inline vf load_strided(const float* from, int64_t ld, int64_t count) {
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

inline void store_strided(float* to, int64_t ld, vf v, int64_t count) {
  float lane[kWidth];
  store(lane, v);
  for (int64_t l = 0; l < kWidth && l < count; ++l) to[l * ld] = lane[l];
}

}  // namespace
}  // namespace engine::ENGINE_ISA
