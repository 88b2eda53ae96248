// The sums of narrow products, of at most kSlice columns. Their terms are added in slices of kSlice, and the sums of
// slices in pairs, then in pairs of pairs and so on. So threads that have different inputs can each sum their own, and
// the bits do not depend on which inputs these are.
#pragma once
#include "kernels/microtile.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Adds tiles in pairs, pairs of pairs and so on, as they arrive in order. Like the digits of a binary counter, a tile
/// waits at its level for the second tile of its pair, and their sum is carried to the next level.
template <int Rows, int Vectors>
class PairwiseSum {
 public:
  /// Adds the sum of the next 2^level slices; so many, or a multiple, were added before. Overwrites `tile`.
  ENGINE_INLINE void add(vf (&tile)[Rows][Vectors], int level) {
    const int64_t slices = int64_t{1} << level;
    for (; slices_ >> level & 1; ++level) add_waiting(tile, level);
    std::memcpy(waiting_[level], tile, sizeof tile);
    slices_ += slices;
  }

  /// tile = the sum of all slices, + 0, with which every product ends (microtile.h).
  ENGINE_INLINE void total(vf (&tile)[Rows][Vectors]) const {
    if (slices_ <= 0 || slices_ >> kLevels) __builtin_unreachable();
    int level = __builtin_ctzll(static_cast<uint64_t>(slices_));
    std::memcpy(tile, waiting_[level], sizeof tile);
    for (++level; slices_ >> level; ++level) {
      if (slices_ >> level & 1) add_waiting(tile, level);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) tile[i][v] = tile[i][v] + 0.0f;
    }
  }

 private:
  static constexpr int kLevels = 40;  // no machine can store the weights for 2^40 slices

  ENGINE_INLINE void add_waiting(vf (&tile)[Rows][Vectors], int level) const {
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) tile[i][v] = waiting_[level][i][v] + tile[i][v];
    }
  }

  int64_t slices_ = 0;
  vf waiting_[kLevels][Rows][Vectors];
};

/// tile = A (Rows, k) B (k, Vectors * kWidth) + bias for a narrow product. The bias (Vectors * kWidth,), or null, is
/// added to the first slice. Not inlined, for the reason of add_chain.
template <int Rows, int Vectors, class A>
__attribute__((noinline)) void sum_slices(vf (&tile)[Rows][Vectors], const A a, const float* b, int64_t ldb, int64_t k,
                                          const float* bias) {
  PairwiseSum<Rows, Vectors> sum;
  for (int64_t p = 0; p < k; p += kSlice) {
    add_chain<Rows, Vectors>(kFromZero, Tile{tile[0]}, a, b, ldb, {p, k < p + kSlice ? k : p + kSlice});
    if (p == 0 && bias) {
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) tile[i][v] = tile[i][v] + load(bias + v * kWidth);
      }
    }
    if (k <= kSlice) return;
    sum.add(tile, 0);
  }
  sum.total(tile);
}

/// The rows that are summed at a time: enough independent additions to hide their latency.
constexpr int kSummedRows = 4;

void sum_partials(const SumPartialsArgs& op) {
  sweep_rows<kSummedRows>(op.rows, [&](auto rows, int64_t b) {
    constexpr int kRows = decltype(rows)::value;
    for (int part = 0; part < kVectorsPerLine; ++part) {
      PairwiseSum<kRows, 1> sum;
      vf tile[kRows][1];
      for (int64_t i = 0; i < op.count; ++i) {
        const SliceGroup& group = op.groups[i];
        const float* from = op.partials + group.first * op.stride + b * kLineFloats + part * kWidth;
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) tile[r][0] = load(from + r * kLineFloats);
        sum.add(tile, group.level);
      }
      sum.total(tile);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        store(op.y + (b + r) * op.ldy + part * kWidth, tile[r][0]);
      }
    }
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
