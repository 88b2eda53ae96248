// Blocks that large products are cut into, sized for the caches.
#pragma once
#include <cstdint>

#include "kernels/kinds.h"

namespace engine {

/// Sums of a block of c wait in the L2 cache from chain to chain, with one chain's block of packed a: 384 and 192 KiB
/// of 1 MiB. Multiples of every tile's rows, and of every panel's columns.
inline constexpr int64_t kBlockRows = 192;
inline constexpr int64_t kBlockColumns = 512;
/// Chains of packed b that wait in the L3 cache for all rows of a cell: 4 MiB. With one, sums wait in c instead: 10 %
/// slower at 2048.
inline constexpr int64_t kBlockChains = 8;

/// Floats that one thread packs and adds up in, on every instruction set: chains are of 256 terms, panels of b at most
/// 128 columns wide.
inline constexpr int64_t kLongestChain = 256, kWidestPanel = 128;
inline constexpr int64_t kBlockRoom = (kBlockRows + kLane) * kLongestChain +
                                      (kBlockColumns + kWidestPanel) * kLongestChain * kBlockChains +
                                      kBlockRows * (kBlockColumns + 2 * kWidestPanel) + 3 * kLane;

/// Rows of a gradient that is summed in blocks before the weights are stepped by it: 2 MB with kBlockColumns.
inline constexpr int64_t kGradientRows = 960;

}  // namespace engine
