// Products on tensor cores with nearly the accuracy of float: of integers up to 255, which bfloat16 has exactly, with
// floats that are split into three bfloat16 of 8 significant bits each. All products of two parts are exact, but tensor
// cores cut off what their sums have no bits for, so that errors may be some 7 times those of sums in float.
#pragma once
#include "cuda/tensor_cores.h"

namespace engine::cuda::chains {

/// Two floats, each as a sum of three bfloat16: the first part is the largest.
struct SplitPair {
  uint32_t parts[3];
  __device__ SplitPair(float first, float second) {
    for (uint32_t& part : parts) {
      part = Bfloat16::word({first, second});
      first = first - Bfloat16::number(part, 0);
      second = second - Bfloat16::number(part, 1);
    }
  }
};

/// c (16, 8) += a (16, 16) b (16, 8), where rows 2t, 2t + 1 and 2t + 8, 2t + 9 of b are split: the smallest parts come
/// first.
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const SplitPair& upper,
                                    const SplitPair& lower) {
  ENGINE_UNROLL(3)
  for (int part = 2; part >= 0; --part) Bfloat16::multiply_add(c, a, {upper.parts[part], lower.parts[part]});
}

/// Bytes `first` and `second` of two words, as bfloat16.
__device__ inline uint32_t pair_of_bytes(uint32_t first, uint32_t second, int byte_of_first, int byte_of_second) {
  return Bfloat16::word(
      {static_cast<float>(first >> 8 * byte_of_first & 255u), static_cast<float>(second >> 8 * byte_of_second & 255u)});
}

}  // namespace engine::cuda::chains
