// The blocks into which large products are divided before they are packed (Goto & van de Geijn 2008), sized for caches.
#pragma once
#include "kernels/layout.h"

namespace engine {

/// A block of c (mc, nc): its sums stay in the L2 cache from chain to chain, together with the packed A of one chain,
/// 384 and 192 KiB of 1 MiB. Both are multiples of the rows of any tile and of the columns of any panel.
inline constexpr int64_t kBlockRows = 192;
inline constexpr int64_t kBlockColumns = 512;
/// The chains of packed B that stay in the L3 cache while all blocks of rows use them: 4 MiB. With a single chain the
/// sums would go to c and back: 10 % slower at m = n = k = 2048.
inline constexpr int64_t kBlockChains = 8;

/// The largest value of all instruction sets.
inline constexpr int64_t kWidestPanel = 32;

/// Floats of scratch for one thread's packed operands and partial sums, for products of at most `rows` rows.
inline constexpr int64_t packing_floats(int64_t rows) {
  const int64_t chains = rows > kBlockRows ? kBlockChains : 1;
  return kBlockRows * kChain + kBlockColumns * kChain * chains + kBlockRows * (kBlockColumns + kWidestPanel) +
         6 * kLineFloats;
}

/// Rows, and distance of rows, of the gradient that a packed product stores before the weights are stepped by it: 2 MB.
inline constexpr int64_t kGradientRows = 960;
inline constexpr int64_t kGradientStride = kBlockColumns + kLineFloats;

}  // namespace engine
