// The persistent kernel: one launch trains on many batches. Weights and optimizer state come into the shared memory of
// the blocks at the beginning, and go back at the end. A batch comes by bring.h, gives gradients by pass.h, and
// weight_steps.h steps the weights.
#pragma once
#include "cuda/chains/bring.h"
#include "cuda/chains/pass.h"
#include "cuda/chains/weight_memory.h"
#include "cuda/chains/weight_steps.h"

namespace engine::cuda::chains {

/// Trains on all batches, and returns how many samples they have.
template <class Team>
__device__ inline int64_t train_on(Block<Team>& block, const WholeBatches& batches) {
  const auto start = [&](int n) { start_bringing(block.net, block.team, batches, n); };
  const auto finish = [&](int n) { finish_bringing(block.net, block.team, n, batches.count); };
  announce_first_batch(block, batches);
  start(0);
  start_loading_weights(block, kSlotsOfWeight);
  finish(0);
  __syncthreads();
  // In a grid the wait for partial sums is long, and there is no other one.
  const bool brings_ahead = block.net.batch_buffers == 2, finishes_at_once = !Team::kSharesMemory;
  int64_t samples = 0;
  for (int i = 0; i < batches.count; ++i) {
    const int buffer = block.buffer_of(i);
    samples += block.batch_in(buffer).rows;
    count_penalties(block, static_cast<double>(block.batch_in(buffer).rows));
    const auto while_sums_come = [&] {
      if (brings_ahead) start(i + 1);
      if (brings_ahead && finishes_at_once) finish(i + 1);
    };
    forward_and_backward(block, buffer, while_sums_come, [&] {
      if (brings_ahead && !finishes_at_once) finish(i + 1);
    });
    step_weights(block, buffer);
    __syncthreads();
    if (!brings_ahead) {
      start(i + 1);
      finish(i + 1);
      __syncthreads();
    }
  }
  return samples;
}

static_assert(sizeof(Network) + 2 * sizeof(int64_t) <= kMaxArgumentBytes);

/// Trains on `count` batches. The grid is one team.
template <class Team>
__global__ void __launch_bounds__(kBlockThreads, 1)
    train(const __grid_constant__ Network network, const Batch* batches, int count) {
  Block<Team> block{network, shared_memory(), Team(network.arrivals)};
  block.prepare();
  const int64_t samples = train_on(block, WholeBatches{batches, count});
  store_weights(block);
  store_totals(block);
  block.team.arrive();
  block.team.wait();
  if (block.team.rank() != 0) return;
  add_to_pass(network, samples, 1.0, [&](int kind) {
    double sum = 0.0;
    for (int rank = 0; rank < block.team.blocks(); ++rank) sum += network.totals[rank * kMaxTotals + kind];
    return sum;
  });
}

}  // namespace engine::cuda::chains
