// The matrix instructions of tensor cores: c (16, 8) += a b, where the terms of a and b are rounded to a format of less
// bits, and the sums are floats. Products of two rounded numbers are exact. Tensor cores cut off what their sum has no
// bits for, where the emulation rounds.
//
// An operand is a word of 32 bits, which holds two numbers of 16 bits or one of TensorFloat32. An instruction takes 8
// words of each row of a and of each column of b. With g = lane / 4 and t = lane % 4, a lane has
//     a[0], a[1], a[2], a[3]: rows g, g + 8, g, g + 8; words t, t, t + 4, t + 4
//     b[0], b[1]:             words t, t + 4; column g
//     c[0], c[1], c[2], c[3]: rows g, g, g + 8, g + 8; columns 2t, 2t + 1, 2t, 2t + 1
// All lanes of a warp call it together.
#pragma once
#include "cuda/kernel.h"

namespace engine::cuda {

/// What an instruction multiplies: words of each row of a, rows of a, and columns of b.
inline constexpr int kWordsOfMatrix = 8, kRowsOfMatrix = 16, kColumnsOfMatrix = 8;

#if !defined(__CUDACC__)
/// The operands of the lanes of a warp, where the instruction is emulated.
struct LaneOperands {
  uint32_t a[4], b[2];
};
inline LaneOperands& operands_of(int lane) {
  constexpr int kMaxBlocks = 16, kMaxWarps = 32;
  static LaneOperands all[kMaxBlocks][kMaxWarps][kWarp];
  return all[blockIdx.x % kMaxBlocks][threadIdx.x / kWarp][lane];
}

template <class Format>
void emulate_multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
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
        for (int n = 0; n < Format::kNumbersOfWord; ++n) {
          c[i] = c[i] + Format::number(left, n) * Format::number(right, n);
        }
      }
    }
  }
  __syncwarp();
}
#endif

/// 7 bits of fraction and the exponents of float32, rounded to nearest, ties to even.
struct Bfloat16 {
  static constexpr int kNumbersOfWord = 2;

  /// The first number is in the lower half of the word.
  static __device__ uint32_t word(const float (&numbers)[2]) {
#if defined(__CUDACC__)
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(numbers[1]), "f"(numbers[0]));
    return pair;
#else
    return rounded(numbers[0]) | rounded(numbers[1]) << 16;
#endif
  }
  static __device__ float number(uint32_t word, int i) {
    return __uint_as_float(i == 0 ? word << 16 : word & 0xffff0000u);
  }
  static __device__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulate_multiply_add<Bfloat16>(c, a, b);
#endif
  }

#if !defined(__CUDACC__)
 private:
  static uint32_t rounded(float x) {
    const uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;  // not a number
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  }
#endif
};

/// 10 bits of fraction, rounded to nearest, ties to even. From 65,520 on numbers become infinite; below 6e-5 they have
/// less bits, and below 3e-8 they become 0.
struct Float16 {
  static constexpr int kNumbersOfWord = 2;

  /// The first number is in the lower half of the word.
  static __device__ uint32_t word(const float (&numbers)[2]) {
#if defined(__CUDACC__)
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(numbers[1]), "f"(numbers[0]));
    return pair;
#else
    return rounded(numbers[0]) | rounded(numbers[1]) << 16;
#endif
  }
  static __device__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulate_multiply_add<Float16>(c, a, b);
#endif
  }

#if !defined(__CUDACC__)
  static float number(uint32_t word, int i) {
    const uint32_t bits = word >> 16 * i, sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= kInfinity) return __uint_as_float(sign | 0x7f800000u | (magnitude - kInfinity) << 13);
    if (magnitude >= kSmallestNormal) return __uint_as_float(sign | ((magnitude << 13) + kExponents));
    constexpr float kSmallest = 1.0f / (1 << 24);
    return sign ? -kSmallest * static_cast<float>(magnitude) : kSmallest * static_cast<float>(magnitude);
  }

 private:
  static constexpr uint32_t kInfinity = 0x7c00u, kSmallestNormal = 0x0400u;
  static constexpr uint32_t kExponents = (127u - 15u) << 23;  // what a float has more in its bits of the exponent

  static uint32_t rounded(float x) {
    const uint32_t bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fffu;  // not a number
    if (__uint_as_float(magnitude) >= 65520.0f) return sign | kInfinity;
    if (magnitude < (kSmallestNormal << 13) + kExponents) {
      // Between 0.5 and 1 floats are multiples of 2^-24, as float16 is here, so that the sum rounds.
      return sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - __float_as_uint(0.5f));
    }
    return sign | (magnitude + 0xfffu + (magnitude >> 13 & 1u) - kExponents) >> 13;
  }
#endif
};

/// 10 bits of fraction and the exponents of float32, rounded to nearest, ties away from zero.
struct TensorFloat32 {
  static constexpr int kNumbersOfWord = 1;

  static __device__ uint32_t word(const float (&numbers)[1]) {
#if defined(__CUDACC__)
    uint32_t rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(numbers[0]));
    return rounded;
#else
    const uint32_t bits = __float_as_uint(numbers[0]);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffffffu;  // not a number
    return (bits + 0x1000u) & ~0x1fffu;
#endif
  }
  static __device__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulate_multiply_add<TensorFloat32>(c, a, b);
#endif
  }

#if !defined(__CUDACC__)
  static float number(uint32_t word, int) { return __uint_as_float(word & ~0x1fffu); }
#endif
};

/// Calls f(format) for the format of a precision other than float32.
template <class F>
__device__ inline void with_format(Precision precision, F&& f) {
  if (precision == Precision::kBfloat16) {
    f(Bfloat16{});
  } else if (precision == Precision::kFloat16) {
    f(Float16{});
  } else {
    f(TensorFloat32{});
  }
}

}  // namespace engine::cuda
