// Copies numbers that are strided in memory to places side by side.
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
  }
  for (; j < op.n; ++j) op.to[j] = op.from[j * op.step];
}

}  // namespace
}  // namespace engine::ENGINE_ISA
