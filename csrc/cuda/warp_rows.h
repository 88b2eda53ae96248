// Steps that compute each row of a matrix by a warp, and the row as the formulas of rows ask for it
// (formulas/losses.h): the threads of a warp, or of a part of it, take its columns in turn.
#pragma once
#include "cuda/kernel.h"
#include "cuda/schedule.h"

namespace engine::cuda {

/// Blocks in which each row has a warp.
inline int64_t blocks_for_warps(int64_t rows) { return (rows * kWarp + kThreads - 1) / kThreads; }

/// Calls f(b, batch) for each row b of a matrix that has `of_sample` rows for each sample of the batch, and `fixed`
/// besides. The threads of a warp get the same row.
template <class F>
struct WarpRows {
  int64_t fixed, of_sample, max_rows;
  F f;

  int64_t blocks() const { return blocks_for_warps(fixed + of_sample * max_rows); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    for_each_by_warp(fixed + of_sample * batch.rows, [&](int64_t b) { f(b, batch); });
  }
};

/// A kernel body with a warp for each row of `value`, for which f(b, batch) is called.
template <class F>
WarpRows<F> for_rows(const Schedule& schedule, ValueId value, F f) {
  const Placement& place = schedule.placement(value);
  return {place.groups == 0 ? place.rows : 0, place.groups, schedule.max_rows(), f};
}

/// A kernel body with a warp for each sample of the batch, for which f(b, batch) is called.
template <class F>
WarpRows<F> for_sample_rows(const Schedule& schedule, F f) {
  return {0, 1, schedule.max_rows(), f};
}

/// A kernel body with a warp for each of `count` rows, for which f(b, batch) is called.
template <class F>
WarpRows<F> for_row_count(int64_t count, F f) {
  return {count, 0, 0, f};
}

/// `n` columns, sums over them, and the largest of them. All threads of the row get the same. The other rows of a warp
/// must do the same at the same time.
template <int Threads>
struct RowOf {
  using V = float;
  using Each = float;
  static constexpr int kThreadsOfRow = Threads;

  int64_t n;

  __device__ float without_pads(int64_t, float v) const { return v; }

  template <class F>
  __device__ void for_columns(F&& f) const {
    for (int64_t j = threadIdx.x % Threads; j < n; j += Threads) f(j);
  }

  /// Sums over the columns, to which `add(j, sums)` adds.
  template <int N, class F>
  __device__ void sum(float (&totals)[N], F&& add) const {
    for (int s = 0; s < N; ++s) totals[s] = 0.0f;
    for_columns([&](int64_t j) { add(j, totals); });
    for (int s = 0; s < N; ++s) totals[s] = sum_of_lanes<Threads>(totals[s]);
  }

  /// The sum of value(j).
  template <class F>
  __device__ float total(F&& value) const {
    float totals[1];
    sum(totals, [&](int64_t j, float* sums) { sums[0] = sums[0] + value(j); });
    return totals[0];
  }

  /// The largest value(j).
  template <class F>
  __device__ float largest(F&& value) const {
    float most = -formulas::kInfinity;
    for_columns([&](int64_t j) {
      const float x = value(j);
      most = x > most ? x : most;
    });
    for (int distance = Threads / 2; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, most, distance);
      most = other > most ? other : most;
    }
    return most;
  }

  template <class F>
  __device__ static float apply(F&& f, float value) {
    return f(value);
  }
};

using Row = RowOf<kWarp>;

/// A row of an activation: forwards x is its input and y its output; backwards x is the output, and y becomes dz.
struct ActivationRow : Row {
  const float *x, *dy;
  float* y;

  __device__ float at(int64_t j) const { return x[j]; }
  __device__ float gradient(int64_t j) const { return dy[j]; }
  __device__ void keep(int64_t j, float v) const { y[j] = v; }
  __device__ float kept(int64_t j) const { return y[j]; }
};

}  // namespace engine::cuda
