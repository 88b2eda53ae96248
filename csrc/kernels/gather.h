// Copies rows of the data set, which may be shuffled, into a batch of floats: x = float32(value) scale + offset.
#pragma once
#include <type_traits>

#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

template <class T>
ENGINE_INLINE const T* source_row(const void* data, int64_t stride, const int32_t* order, int64_t sample) {
  return static_cast<const T*>(data) + (order ? order[sample] : sample) * stride;
}

/// Prefetches all cache lines of a row, which may begin anywhere in its first line.
template <int Locality, class T>
ENGINE_INLINE void prefetch_row(const T* row, int64_t k) {
  constexpr int64_t kPerLine = 64 / sizeof(T);
  for (int64_t j = 0; j < k; j += kPerLine) __builtin_prefetch(row + j, 0, Locality);
  __builtin_prefetch(row + k - 1, 0, Locality);
}

/// float32(value) * scale + offset. In vectors: GCC's -O2 makes none of a loop of unknown length.
template <class T>
ENGINE_INLINE void convert(const T* __restrict in, float* __restrict out, int64_t n, float scale, float offset) {
  const bool as_it_is = scale == 1.0f && offset == 0.0f;
  const auto scaled = [&](vf value) { return as_it_is ? value : fma(value, broadcast(scale), broadcast(offset)); };
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) store(out + j, scaled(load_as_floats(in + j)));
  if (j == n) return;
  if constexpr (std::is_same_v<T, float>) {
    store_partial(out + j, scaled(load_partial(in + j, n - j)), n - j);
  } else {
    for (; j < n; ++j)
      out[j] = as_it_is ? static_cast<float>(in[j]) : fma_of_floats(static_cast<float>(in[j]), scale, offset);
  }
}

/// x (rows, k) = the rows, converted; prefetches the rows that the next call reads.
template <class T>
void gather(const GatherArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const T* in = source_row<T>(op.data, op.stride, op.order, op.first + b);
    // Shuffled rows come from main memory. Prefetched one batch ahead, they are in the L2 cache when they are needed.
    if (const int64_t ahead = op.next + b; op.order && ahead < op.samples) {
      prefetch_row<2>(source_row<T>(op.data, op.stride, op.order, ahead), op.k);
    }
    convert(in, op.x + b * op.ldx, op.k, op.scale, op.offset);
  }
}

/// The same from rows in CSR form, whose zeros become `offset`.
void gather_compressed(const GatherCompressed& op) {
  const CompressedBatch& in = *op.batch;
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    float* x = op.x + b * op.ldx;
    for (int64_t j = 0; j < op.k; j += kWidth) store(x + j, broadcast(op.offset));
    const int64_t row = in.row(b);
    for (int64_t e = in.rows.begins[row]; e < in.rows.begins[row + 1]; ++e) {
      convert(in.rows.values + e, x + in.rows.columns[e], 1, in.scale, op.offset);
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
