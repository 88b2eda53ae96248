// Copies numbers that are strided in memory to places side by side, or spreads them among zeros.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Lanes from the last to the first
struct Reversed {
  static constexpr int at(int l) { return kWidth - 1 - l; }
};
/// Every second lane of two vectors
struct EverySecond {
  static constexpr int at(int l) { return 2 * l; }
};

/// Half of the lanes of a vector, with a lane of a second vector behind each.
template <bool Upper>
struct Alternating {
  static constexpr int at(int l) { return l / 2 + (Upper ? kWidth / 2 : 0) + (l % 2 != 0 ? kWidth : 0); }
};

/// Whole vectors of the most frequent steps are put together from whole vectors.
void copy_strided(const CopyStridedArgs& op) {
  int64_t j = 0;
  if (op.step == -1) {
    for (; j + kWidth <= op.n; j += kWidth) {
      const vf v = load(op.from - j - (kWidth - 1));
      store(op.to + j, mix<Reversed>(v, v));
    }
  } else if (op.step == 2) {
    // Behind the last number there may be nothing.
    for (; j + kWidth < op.n; j += kWidth) {
      store(op.to + j, mix<EverySecond>(load(op.from + 2 * j), load(op.from + 2 * j + kWidth)));
    }
  } else if (op.step == 0) {
    const vf number = broadcast(*op.from);
    for (; j + kWidth <= op.n; j += kWidth) store(op.to + j, number);
  }
  for (; j < op.n; ++j) op.to[j] = op.from[j * op.step];
}

void spread_strided(const SpreadStridedArgs& op) {
  int64_t j = 0;
  if (op.step == 2 && op.from_step == 1) {
    // Behind the last number there may be nothing.
    for (; j + kWidth < op.n; j += kWidth) {
      const vf v = load(op.from + j);
      store(op.to + 2 * j, mix<Alternating<false>>(v, vf{}));
      store(op.to + 2 * j + kWidth, mix<Alternating<true>>(v, vf{}));
    }
  }
  for (; j < op.n; ++j) {
    op.to[j * op.step] = op.from[j * op.from_step];
    for (int64_t i = 1; i < op.step && j + 1 < op.n; ++i) op.to[j * op.step + i] = 0.0f;
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
