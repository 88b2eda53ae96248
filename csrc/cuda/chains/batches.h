// The batches that a block goes through, one after the other. Each of the types has
//     count                            how many there are
//     start_describing(shared, n)      begins to write what batch n is to shared memory; all threads of the block call
//     it,
//                                      and see the result behind `wait_for_copies` and a barrier
#pragma once
#include "cuda/chains/block.h"
#include "cuda/chains/copies.h"

namespace engine::cuda::chains {

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
