// Sums of narrow products. Their terms are summed in slices of kSlice, and slices in pairs, pairs of pairs and so on,
// so that threads that have different inputs can each sum their own, and bits don't depend on who has which.
#pragma once
#include "kernels/microtile.h"
#include "kernels/partial_sums.h"

namespace engine::ENGINE_ISA {
namespace {

/// Joins tiles that arrive in order, like the carries of a binary counter.
template <int Rows, int Vectors>
class PairwiseSum {
 public:
  /// `tile` is the sum of the next 2^level slices, of which so far came a multiple; it is used up.
  ENGINE_INLINE void add(vf (&tile)[Rows][Vectors], int level) {
    const int64_t slices = int64_t{1} << level;
    for (; slices_ >> level & 1; ++level) join(tile, level);
    std::memcpy(waiting_[level], tile, sizeof tile);
    slices_ += slices;
  }

  /// Of all; ends with + 0, as every product does.
  ENGINE_INLINE void total(vf (&tile)[Rows][Vectors]) const {
    if (slices_ <= 0 || slices_ >> kLevels) __builtin_unreachable();
    int level = __builtin_ctzll(static_cast<uint64_t>(slices_));
    std::memcpy(tile, waiting_[level], sizeof tile);
    for (++level; slices_ >> level; ++level) {
      if (slices_ >> level & 1) join(tile, level);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) tile[i][v] = tile[i][v] + 0.0f;
    }
  }

 private:
  static constexpr int kLevels = 40;  // of so many slices no machine has the weights

  ENGINE_INLINE void join(vf (&tile)[Rows][Vectors], int level) const {
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) tile[i][v] = waiting_[level][i][v] + tile[i][v];
    }
  }

  int64_t slices_ = 0;
  vf waiting_[kLevels][Rows][Vectors];
};

/// tile = a tile of a narrow product; the bias (Vectors * kWidth,), or null, joins the first slice, which may be all
/// there is. Not inlined, as `add_chain`.
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

/// Rows whose sums are made together: enough for none to wait for its own.
constexpr int kSummedRows = 4;

void sum_partials(const SumPartials& op) {
  sweep_rows<kSummedRows>(op.rows, [&](auto rows, int64_t b) {
    constexpr int kRows = decltype(rows)::value;
    for (int part = 0; part < kParts; ++part) {
      PairwiseSum<kRows, 1> sum;
      vf tile[kRows][1];
      for (int64_t i = 0; i < op.count; ++i) {
        const SliceGroup& group = op.groups[i];
        const float* from = op.partials + group.first * op.stride + b * kLane + part * kWidth;
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) tile[r][0] = load(from + r * kLane);
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
