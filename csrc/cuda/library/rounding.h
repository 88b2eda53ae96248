// Operands of products, rounded to 16 bits: to the nearest number, and to the even one of two that are as near.
#pragma once
#include "cuda/batch.h"
#include "cuda/kernel.h"
#include "formulas/kinds.h"

namespace engine::cuda {

/// The bits of bfloat16: the upper half of those of a float.
__device__ inline uint16_t bfloat16_bits(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);  // NaN
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// The bits of IEEE float16. Numbers beyond 65,504 become infinite, from the middle to the next one on.
__device__ inline uint16_t float16_bits(float x) {
  const uint32_t bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  constexpr uint32_t kInfinity = 0x7c00u, kNan = 0x7e00u;
  constexpr uint32_t kTooLarge = 0x477ff000u;        // 65,520
  constexpr uint32_t kSmallestNormal = 0x38800000u;  // 2^-14
  if (size > 0x7f800000u) return static_cast<uint16_t>(sign | kNan);
  if (size >= kTooLarge) return static_cast<uint16_t>(sign | kInfinity);
  if (size >= kSmallestNormal) {
    // 13 of 23 bits of the fraction go, and the bias of the exponent is 15 in place of 127.
    const uint32_t rounded = size + 0xfffu + (size >> 13 & 1u);
    return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
  }
  // A multiple of 2^-24: the fraction with its leading 1, shifted to that unit.
  const uint32_t shift = 126u - (size >> 23);
  if (shift > 24u) return static_cast<uint16_t>(sign);
  const uint32_t fraction = (size & 0x7fffffu) | 0x800000u, kept = fraction >> shift;
  const uint32_t rest = fraction & ((1u << shift) - 1u), half = 1u << (shift - 1u);
  const bool up = rest > half || (rest == half && (kept & 1u));
  return static_cast<uint16_t>(sign | (kept + (up ? 1u : 0u)));
}

__device__ inline uint16_t rounded_bits(Precision precision, float x) {
  return precision == Precision::kBfloat16 ? bfloat16_bits(x) : float16_bits(x);
}

/// Numbers of a row of a 16-bit copy: a multiple of 16 bytes, which the fastest products need.
inline int64_t rounded_ld(int64_t columns) { return (columns + 7) / 8 * 8; }

/// to (rows, ld) = from (rows, columns), rounded. A warp takes a row, or a part of a long one.
struct RoundMatrix {
  static constexpr int64_t kPart = 1024;  // columns

  const float* from;
  uint16_t* to;
  int64_t fixed, of_sample, most_samples;  // rows: `fixed`, and `of_sample` for each sample of the batch
  int64_t columns, ld;
  Precision precision;

  ENGINE_DEVICE int64_t parts() const { return (columns + kPart - 1) / kPart; }
  int64_t blocks() const {
    constexpr int64_t kWarps = kThreads / kWarp;
    return ((fixed + of_sample * most_samples) * parts() + kWarps - 1) / kWarps;
  }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const int64_t parts_of_row = parts();
    for_each_by_warp((fixed + of_sample * batch.rows) * parts_of_row, [&](int64_t i) {
      const int64_t row = i / parts_of_row, first = i % parts_of_row * kPart;
      const int64_t end = first + kPart < columns ? first + kPart : columns;
      for (int64_t j = first + static_cast<int64_t>(threadIdx.x % kWarp); j < end; j += kWarp) {
        to[row * ld + j] = rounded_bits(precision, from[row * columns + j]);
      }
    });
  }
};

}  // namespace engine::cuda
