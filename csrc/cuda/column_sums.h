// Sums over the rows of a matrix, one or several for each column. A block adds the terms of a slice of rows for 32
// columns, one for each lane of its warps; the warps take the rows in turn, and their sums are added in order. Where
// there are several slices, a second kernel adds their sums in order. So the order of a sum depends on the number of
// its rows alone.
#pragma once
#include <algorithm>

#include "cuda/kernel.h"
#include "cuda/schedule.h"

namespace engine::cuda {

/// Rows of a slice. A slice of fewer rows gives tall matrices more blocks, and the second kernel more to add.
inline constexpr int64_t kSliceRows = 128;

ENGINE_DEVICE inline int64_t slices_of(int64_t rows) { return (rows + kSliceRows - 1) / kSliceRows; }
/// The row behind the last one of a slice.
__device__ inline int64_t end_of_slice(int64_t slice, int64_t rows) {
  const int64_t end = (slice + 1) * kSliceRows;
  return end < rows ? end : rows;
}
/// Blocks in which each column of a matrix has a lane.
inline int64_t blocks_for_columns(int64_t columns) { return (columns + kWarp - 1) / kWarp; }
/// What each of them shares for so many sums of a column.
inline constexpr int64_t column_sum_bytes(int sums) { return sums * kThreads * static_cast<int64_t>(sizeof(float)); }

/// The rows of a matrix: so many, and `of_sample` for each sample of a batch.
struct RowCount {
  int64_t fixed, of_sample;

  __device__ int64_t in(const Batch& batch) const { return fixed + of_sample * batch.rows; }
  int64_t max(const Schedule& schedule) const { return fixed + of_sample * schedule.max_rows(); }
};
inline RowCount row_count(const Schedule& schedule, ValueId matrix) {
  const Placement& place = schedule.placement(matrix);
  return {place.groups == 0 ? place.rows : 0, place.groups};
}

/// Calls f(slice, j) for each slice of rows and each column, by all blocks of the grid. Threads of a block call it
/// together, some of them with a column that the matrix does not have.
template <class F>
__device__ inline void for_each_slice(int64_t slices, int64_t columns, F&& f) {
  const int64_t across = (columns + kWarp - 1) / kWarp;
  for (int64_t i = blockIdx.x; i < slices * across; i += gridDim.x) {
    f(i / across, i % across * kWarp + threadIdx.x % kWarp);
  }
}

/// totals = the sums to which add(b, sums) adds the terms of row b, for the rows from `begin` to before `end` of the
/// thread's column. Every thread of the block must call it; threads with the same column get the same bits.
template <int N, class F>
__device__ inline void sum_of_rows(int64_t begin, int64_t end, bool has_column, float (&totals)[N], F&& add) {
  float* const shared = shared_memory();
  float sums[N] = {};
  if (has_column) {
    for (int64_t b = begin + threadIdx.x / kWarp; b < end; b += kThreads / kWarp) add(b, sums);
  }
  __syncthreads();  // an earlier sum may still be read
  for (int s = 0; s < N; ++s) shared[s * kThreads + threadIdx.x] = sums[s];
  __syncthreads();
  for (int s = 0; s < N; ++s) {
    totals[s] = 0.0f;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) {
      totals[s] += shared[s * kThreads + warp * kWarp + threadIdx.x % kWarp];
    }
  }
}

/// The sums of all slices. `Sums` is a struct with
///     static constexpr int kSums;   // of each column
///     int64_t columns;
///     bool is_wanted(const Batch&); // false: nothing is computed in this batch
///     int64_t rows(const Batch&);
///     void add(int64_t b, int64_t j, float (&sums)[kSums]);  // the terms of row b
///     void finish(int64_t j, const float (&sums)[kSums], const Batch&);  // takes the sums over all rows
template <class Sums>
struct SumSlices {
  Sums all;
  int64_t max_slices;
  float* partial_sums;  // (slices, kSums, columns); not used where there is one slice

  int64_t blocks() const { return max_slices * blocks_for_columns(all.columns); }
  int64_t shared_bytes() const { return column_sum_bytes(Sums::kSums); }
  __device__ void run(const Batch& batch) const {
    if (!all.is_wanted(batch)) return;
    const int64_t rows = all.rows(batch), slices = max_slices == 1 ? 1 : slices_of(rows);
    for_each_slice(slices, all.columns, [&](int64_t slice, int64_t j) {
      float sums[Sums::kSums];
      sum_of_rows(slice * kSliceRows, end_of_slice(slice, rows), j < all.columns, sums,
                  [&](int64_t b, float (&to)[Sums::kSums]) { all.add(b, j, to); });
      if (j >= all.columns || threadIdx.x >= kWarp) return;
      if (max_slices == 1) return all.finish(j, sums, batch);
      for (int s = 0; s < Sums::kSums; ++s) partial_sums[(slice * Sums::kSums + s) * all.columns + j] = sums[s];
    });
  }
};

/// The sums over all rows from those of the slices.
template <class Sums>
struct AddSlices {
  Sums all;
  int64_t max_slices;
  const float* partial_sums;

  int64_t blocks() const { return max_slices == 1 ? 0 : blocks_for_columns(all.columns); }
  int64_t shared_bytes() const { return column_sum_bytes(Sums::kSums); }
  __device__ void run(const Batch& batch) const {
    if (!all.is_wanted(batch)) return;
    const int64_t slices = slices_of(all.rows(batch));
    for_each_slice(1, all.columns, [&](int64_t, int64_t j) {
      float sums[Sums::kSums];
      sum_of_rows(0, slices, j < all.columns, sums, [&](int64_t slice, float (&to)[Sums::kSums]) {
        for (int s = 0; s < Sums::kSums; ++s) to[s] += partial_sums[(slice * Sums::kSums + s) * all.columns + j];
      });
      if (j < all.columns && threadIdx.x < kWarp) all.finish(j, sums, batch);
    });
  }
};

/// Appends the kernels that compute sums of columns: `make` gives a struct as SumSlices describes, for the memory of a
/// run. `rows` is how many rows the matrix has.
template <class Make>
void add_column_sums(Schedule& schedule, const graph::Operation& op, const RowCount& rows, int64_t columns, Make make) {
  using Sums = decltype(make(std::declval<const RunMemory&>()));
  const int64_t slices = std::max<int64_t>(slices_of(rows.max(schedule)), 1);
  const int64_t partial = slices == 1 ? 0 : schedule.add_scratch(slices * Sums::kSums * columns);
  schedule.add(op, [=](const RunMemory& memory) {
    return SumSlices<Sums>{make(memory), slices, memory.arguments.scratch + partial};
  });
  if (slices == 1) return;
  schedule.add(op, [=](const RunMemory& memory) {
    return AddSlices<Sums>{make(memory), slices, memory.arguments.scratch + partial};
  });
}

}  // namespace engine::cuda
