// Sorts columns, each in a lane of its own. The same elements are compared whatever the numbers are: Batcher's merge
// exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M), about n log2(n)^2 / 4 comparisons.
#pragma once
#include "formulas/sorting.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Calls exchange(i, j), which puts the smaller one of elements i and j at i, for all pairs of a network.
template <class F>
ENGINE_INLINE void merge_exchange(int64_t n, F&& exchange) {
  int64_t most = 1;
  while (2 * most < n) most *= 2;
  for (int64_t p = most; p > 0; p /= 2) {
    for (int64_t q = most, r = 0, distance = p;; distance = q - p, q /= 2, r = p) {
      const int64_t end = n - distance;
      for (int64_t first = r; first < end; first += 2 * p) {
        const int64_t behind = first + p < end ? first + p : end;
        for (int64_t i = first; i < behind; ++i) exchange(i, i + distance);
      }
      if (q == p) break;
    }
  }
}

ENGINE_INLINE vi load_keys(const float* p) { return bits(load(p)); }
ENGINE_INLINE void store_keys(float* p, vi keys) { store(p, from_bits(keys)); }

ENGINE_INLINE void sort_numbers(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) store_keys(x + i * kLineFloats, sorting_key(load(x + i * kLineFloats)));
  merge_exchange(n, [&](int64_t i, int64_t j) {
    const vi a = load_keys(x + i * kLineFloats), b = load_keys(x + j * kLineFloats);
    store_keys(x + i * kLineFloats, a < b ? a : b);
    store_keys(x + j * kLineFloats, a < b ? b : a);
  });
  for (int64_t i = 0; i < n; ++i) store(x + i * kLineFloats, number_of_key<vf>(load_keys(x + i * kLineFloats)));
}

ENGINE_INLINE void sort_places(float* x, float* places, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    store_keys(x + i * kLineFloats, key_of_place(load(x + i * kLineFloats)));
    store(places + i * kLineFloats, broadcast(static_cast<float>(i)));
  }
  merge_exchange(n, [&](int64_t i, int64_t j) {
    const vi a = load_keys(x + i * kLineFloats), b = load_keys(x + j * kLineFloats);
    const vf at_a = load(places + i * kLineFloats), at_b = load(places + j * kLineFloats);
    const vi in_order = (a < b) | ((a == b) & (at_a < at_b));
    store_keys(x + i * kLineFloats, in_order ? a : b);
    store_keys(x + j * kLineFloats, in_order ? b : a);
    store(places + i * kLineFloats, in_order ? at_a : at_b);
    store(places + j * kLineFloats, in_order ? at_b : at_a);
  });
}

void sort_columns(const SortColumnsArgs& op) {
  for (int64_t lane = 0; lane < kLineFloats; lane += kWidth) {
    if (op.places) {
      sort_places(op.x + lane, op.places + lane, op.n);
    } else {
      sort_numbers(op.x + lane, op.n);
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
