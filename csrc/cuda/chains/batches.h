// The batches that a block goes through, one after the other. Each of the types has
//     count                            how many there are
//     start_describing(shared, n)      begins to write what batch n is to shared memory; all threads of the block call
//     it,
//                                      and see the result behind `wait_for_copies` and a barrier
#pragma once
#include "cuda/chains/block.h"

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

/// Whole batches, as the persistent kernel trains on them.
struct WholeBatches {
  const Batch* all;
  int count;

  __device__ void start_describing(Batch& shared, int n) const {
    constexpr int kWords = static_cast<int>(sizeof(Batch) / sizeof(uint32_t));
    static_assert(sizeof(Batch) % sizeof(uint32_t) == 0);
    for_each_of_block(kWords, [&](int i) {
      start_copy(reinterpret_cast<uint32_t*>(&shared) + i, reinterpret_cast<const uint32_t*>(all + n) + i);
    });
  }
};

/// The micro-batches of a team: parts of a batch. What steps of weights need is not described.
struct MicroBatches {
  const Batch* batch;
  int64_t first, end;  // samples of the batch
  int rows;            // of a micro-batch, the last may have fewer
  int count;

  __device__ void start_describing(Batch& shared, int n) const {
    if (thread() != 0) return;
    const int64_t before = first + int64_t{n} * rows;
    shared.first = batch->first + before;
    shared.rows = end - before < rows ? end - before : rows;
    shared.whole = batch->rows;
    shared.order = batch->order ? batch->order + before : nullptr;
    shared.draw = batch->draw;
    shared.first_draw = batch->first_draw + before;
  }
};

}  // namespace engine::cuda::chains
