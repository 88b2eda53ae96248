// Products on tensor cores with nearly the accuracy of float, since floats are split into parts that the cores have
// exactly. Products of two parts are exact, too. But tensor cores cut off what their sums have no bits for, 8 or 16
// terms at a time, so that errors of long sums may be some 10 times those of sums in float.
//
// Bytes are integers that bfloat16 has exactly; the other operand is split into three bfloat16 of 8 significant bits
// each.
//
// Of two floats each is split into two TensorFloat32, which have 11: their sum differs from the float by up to 2^-23 of
// it. The product of the two smaller parts is left out ("3xTF32" in CUTLASS). So a product is wrong by up to 2^-21 of
// it, and by 2^-24 on average. The bits of a word that TensorFloat32 does not have are left as they are: cards don't
// read them, as nvcc assumes, too. Numbers above 3.4026e38 and infinite ones become no number.
#pragma once
#include "cuda/tensor_cores.h"

namespace engine::cuda::chains {

// ---- Two floats -----------------------------------------------------------------------------------------------------

/// N floats, as sums of two TensorFloat32 each.
template <int N>
struct SplitFloats {
  uint32_t high[N], low[N];
  __device__ explicit SplitFloats(const float (&x)[N]) {
    constexpr uint32_t kHalf = 0x1000, kMask = 0xffffe000;  // of 13 bits that TensorFloat32 does not have
    ENGINE_UNROLL(4)
    for (int i = 0; i < N; ++i) {
      high[i] = (__float_as_uint(x[i]) + kHalf) & kMask;
      low[i] = __float_as_uint(x[i] - __uint_as_float(high[i]));  // tensor cores do not read those bits
    }
  }
};

/// A sum (16, 8) of products. Small parts have a sum of their own, from which less is cut off.
struct SplitSum {
  float large[4] = {}, small[4] = {};

  /// += a (16, 8) b (8, 8)
  __device__ void add(const SplitFloats<4>& a, const SplitFloats<2>& b) {
    TensorFloat32::multiply_add(small, a.low, b.high);
    TensorFloat32::multiply_add(small, a.high, b.low);
    TensorFloat32::multiply_add(large, a.high, b.high);
  }
  __device__ float operator[](int i) const { return large[i] + small[i]; }
};

// ---- Bytes and a float ----------------------------------------------------------------------------------------------

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
