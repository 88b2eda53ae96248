// Blocks that large products are cut into and packed in, sized for the caches.
#pragma once
#include "kernels/layout.h"

namespace engine {

/// Sums of a block of c wait in the L2 cache from chain to chain, with one chain's block of packed a: 384 and 192 KiB
/// of 1 MiB. Multiples of every tile's rows, and of every panel's columns.
inline constexpr int64_t kBlockRows = 192;
inline constexpr int64_t kBlockColumns = 512;
/// Chains of packed b that wait in the L3 cache for all rows of a cell: 4 MiB. With one, sums wait in c instead: 10 %
/// slower at 2048.
inline constexpr int64_t kBlockChains = 8;

/// Largest of any instruction set.
inline constexpr int64_t kLongestChain = 256, kWidestPanel = 32;

/// Floats that one thread packs and adds up in, for batches of at most so many rows.
inline constexpr int64_t packed_room(int64_t rows) {
  const int64_t chains = rows > kBlockRows ? kBlockChains : 1;
  return kBlockRows * kLongestChain + kBlockColumns * kLongestChain * chains +
         kBlockRows * (kBlockColumns + kWidestPanel) + 6 * kLane;
}

/// Rows and columns of a gradient that is summed before the weights are stepped by it: 2 MB.
inline constexpr int64_t kGradientRows = 960;
inline constexpr int64_t kGradientStride = kBlockColumns + kLane;

}  // namespace engine
