// Sums over the rows of a matrix, one for each column. A block has 32 columns, one for each lane of its warps; the
// warps take the rows in turn, and their sums are added in order.
#pragma once
#include "cuda/kernel.h"

namespace engine::cuda {

/// Blocks in which each column of a matrix has a lane.
inline int64_t blocks_for_columns(int64_t columns) { return (columns + kWarp - 1) / kWarp; }
/// What each of them shares.
inline constexpr int64_t kColumnSumBytes = kThreads * static_cast<int64_t>(sizeof(float));

/// Calls f(j) for the columns of a matrix, by all blocks of the grid. Threads of a block call it together, some of them
/// with a column that the matrix does not have.
template <class F>
__device__ inline void for_each_column_of_blocks(int64_t columns, F&& f) {
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarp; first < columns;
       first += static_cast<int64_t>(gridDim.x) * kWarp) {
    f(first + threadIdx.x % kWarp);
  }
}

/// Calls f(b) for those of the rows that the thread's warp takes.
template <class F>
__device__ inline void for_rows_of_warp(int64_t rows, F&& f) {
  for (int64_t b = threadIdx.x / kWarp; b < rows; b += kThreads / kWarp) f(b);
}

/// The sum to which add(b, sum) adds the term of row b, for the thread's column. Every thread of the block must call
/// it; threads with the same column get the same bits.
template <class F>
__device__ inline float sum_of_rows(int64_t rows, bool has_column, F&& add) {
  float* const sums = shared_memory();
  float sum = 0.0f;
  if (has_column) for_rows_of_warp(rows, [&](int64_t b) { sum = add(b, sum); });
  __syncthreads();  // an earlier sum may still be read
  sums[threadIdx.x] = sum;
  __syncthreads();
  float total = 0.0f;
  for (int warp = 0; warp < kThreads / kWarp; ++warp) total += sums[warp * kWarp + threadIdx.x % kWarp];
  return total;
}

}  // namespace engine::cuda
