// One row of a matrix, whose columns the threads of a warp, or of a part of it, take in turn, as the formulas of rows
// ask for it (formulas/losses.h).
#pragma once
#include "cuda/kernel.h"

namespace engine::cuda {

/// Blocks in which each row has a warp.
inline int64_t blocks_for_warps(int64_t rows) { return (rows * kWarp + kThreads - 1) / kThreads; }

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
