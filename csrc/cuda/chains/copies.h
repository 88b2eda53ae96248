// Copies from memory of the card to shared memory that run by themselves (cp.async).
#pragma once
#include "cuda/kernel.h"

namespace engine::cuda::chains {

/// Starts to copy 4 or 16 bytes from memory of the card to shared memory.
template <class Chunk>
__device__ inline void start_copy(Chunk* shared, const Chunk* on_card) {
  static_assert(sizeof(Chunk) == 4 || sizeof(Chunk) == 16);
#if defined(__CUDACC__)
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" : : "r"(to), "l"(on_card), "n"(sizeof(Chunk)) : "memory");
#else
  *shared = *on_card;
#endif
}
/// Waits for all copies that this thread has started.
__device__ inline void wait_for_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_all;" : : : "memory");
#endif
}

}  // namespace engine::cuda::chains
