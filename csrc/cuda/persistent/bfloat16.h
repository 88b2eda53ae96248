// Products on tensor cores with the accuracy of float: of integers up to 255, which bfloat16 has exactly, with floats
// that are split into three bfloat16 of 8 significant bits each. All products of two parts are exact, and are added in
// float; tensor cores cut off what their sum has no bits for, where the emulation rounds.
#pragma once
#include "cuda/kernel.h"

namespace engine::cuda::persistent {

#if !defined(__CUDACC__)
/// The operands of the lanes of a warp, where the matrix instruction is emulated.
struct LaneOperands {
  uint32_t a[4], b[2];
};
inline LaneOperands& operands_of(int lane) {
  constexpr int kMostBlocks = 16, kMostWarps = 32;
  static LaneOperands all[kMostBlocks][kMostWarps][kWarp];
  return all[blockIdx.x % kMostBlocks][threadIdx.x / kWarp][lane];
}
#endif

/// Two bfloat16 in a register, the first in its lower half.
__device__ inline uint32_t pair_of(float first, float second) {
#if defined(__CUDACC__)
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
#else
  const auto rounded = [](float x) {
    const uint32_t bits = __float_as_uint(x);
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  };
  return rounded(first) | rounded(second) << 16;
#endif
}
__device__ inline float first_of(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float second_of(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

/// Two floats, each as a sum of three bfloat16: the first part is the largest.
struct SplitPair {
  uint32_t parts[3];
  __device__ SplitPair(float first, float second) {
    for (uint32_t& part : parts) {
      part = pair_of(first, second);
      first = first - first_of(part);
      second = second - second_of(part);
    }
  }
};

/// c (16, 8) += a (16, 16) b (16, 8) by all lanes of a warp. With g = lane / 4 and t = lane % 4, a lane has
///     a[0], a[1], a[2], a[3]: rows g, g + 8, g, g + 8; columns 2t and 2t + 1, for the last two plus 8
///     b[0], b[1]:             rows 2t and 2t + 1, for the second plus 8; column g
///     c[0], c[1], c[2], c[3]: rows g, g, g + 8, g + 8; columns 2t, 2t + 1, 2t, 2t + 1
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  LaneOperands& own = operands_of(lane);
  for (int i = 0; i < 4; ++i) own.a[i] = a[i];
  for (int i = 0; i < 2; ++i) own.b[i] = b[i];
  __syncwarp();
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2;
    for (int half = 0; half < 2; ++half) {
      for (int k = 0; k < 4; ++k) {
        const uint32_t left = operands_of(4 * g + k).a[i / 2 + 2 * half], right = operands_of(4 * column + k).b[half];
        c[i] = c[i] + first_of(left) * first_of(right) + second_of(left) * second_of(right);
      }
    }
  }
  __syncwarp();
#endif
}

/// The same for a matrix b whose rows 2t, 2t + 1 and 2t + 8, 2t + 9 are split: its smallest parts come first.
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const SplitPair& upper,
                                    const SplitPair& lower) {
  ENGINE_UNROLL(3)
  for (int part = 2; part >= 0; --part) multiply_add(c, a, {upper.parts[part], lower.parts[part]});
}

/// Bytes `first` and `second` of two words, as bfloat16.
__device__ inline uint32_t pair_of_bytes(uint32_t first, uint32_t second, int byte_of_first, int byte_of_second) {
  return pair_of(static_cast<float>(first >> 8 * byte_of_first & 255u),
                 static_cast<float>(second >> 8 * byte_of_second & 255u));
}

}  // namespace engine::cuda::persistent
