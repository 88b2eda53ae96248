// Operands of products, rounded to 16 bits: to the nearest number, and to the even one of two that are as near.
#pragma once
#include "cuda/batch.h"
#include "cuda/kernel.h"
#include "cuda/tensor_cores.h"

namespace engine::cuda {

/// Numbers of a row of a 16-bit copy: a multiple of 16 bytes, which the fastest products need.
inline int64_t rounded_ld(int64_t columns) { return (columns + 7) / 8 * 8; }

/// A change of numbers before they are rounded: none.
struct Unchanged {
  static constexpr bool kChanges = false;
  __device__ float operator()(float x, int64_t) const { return x; }
};

/// to (rows, ld) = change(from (rows, columns)), rounded, by pairs. Where numbers change, `from` has them afterwards,
/// too. A warp takes a row, or a part of a long one. Where a row has an odd number, a zero follows it.
template <class Change>
struct RoundMatrix {
  static constexpr int64_t kPart = 1024;  // columns

  const float* from;
  float* changed;  // the same memory; null where nothing changes
  uint32_t* to;
  int64_t fixed, of_sample, most_samples;  // rows: `fixed`, and `of_sample` for each sample of the batch
  int64_t columns, ld;
  Precision precision;
  Change change;

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
      for (int64_t j = first + 2 * static_cast<int64_t>(threadIdx.x % kWarp); j < end; j += 2 * kWarp) {
        const int64_t at = row * columns + j;
        const bool has_second = j + 1 < columns;
        const float numbers[2] = {change(from[at], at), has_second ? change(from[at + 1], at + 1) : 0.0f};
        if constexpr (Change::kChanges) {
          changed[at] = numbers[0];
          if (has_second) changed[at + 1] = numbers[1];
        }
        to[(row * ld + j) / 2] = precision == Precision::kBfloat16 ? Bfloat16::word(numbers) : Float16::word(numbers);
      }
    });
  }
};

}  // namespace engine::cuda
