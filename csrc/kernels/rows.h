// One row of a matrix, whose columns lie in the lanes of vectors, as the formulas of rows ask for it
// (formulas/losses.h).
#pragma once
#include "formulas/row_activations.h"
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

ENGINE_INLINE vf larger_of(vf a, vf b) { return a > b ? a : b; }

/// `n` columns, sums over them, and the largest of them. Pads may hold anything, such as NaN once training diverged.
struct Row {
  using V = vf;
  using Each = float;

  int64_t n;

  ENGINE_INLINE vf without_pads(int64_t j, vf v) const { return masked(v, j, n, vf{}); }

  template <class F>
  ENGINE_INLINE void for_columns(F&& f) const {
    for_vectors(n, [&](int64_t j, int) { f(j); });
  }

  /// Sums over the columns, to which `add(j, sums)` adds.
  template <int N, class F>
  ENGINE_INLINE void sum(float (&totals)[N], F&& add) const {
    LaneSum lanes[N];
    for_vectors(n, [&](int64_t j, int part) {
      vf sums[N];
#pragma GCC unroll 3
      for (int s = 0; s < N; ++s) sums[s] = lanes[s].part[part];
      add(j, sums);
#pragma GCC unroll 3
      for (int s = 0; s < N; ++s) lanes[s].part[part] = masked(sums[s], j, n, lanes[s].part[part]);
    });
#pragma GCC unroll 3
    for (int s = 0; s < N; ++s) totals[s] = lanes[s].total();
  }

  /// The sum of value(j).
  template <class F>
  ENGINE_INLINE float total(F&& value) const {
    return row_sum(n, value);
  }

  /// The largest value(j).
  template <class F>
  ENGINE_INLINE float largest(F&& value) const {
    const vf lowest = broadcast(-kInfinity);
    vf most = lowest;
    for_vectors(n, [&](int64_t j, int) { most = larger_of(masked(value(j), j, n, lowest), most); });
    return fold(most, larger_of);
  }

  template <class F>
  static ENGINE_INLINE float apply(F&& f, float value) {
    return f(broadcast(value))[0];
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
