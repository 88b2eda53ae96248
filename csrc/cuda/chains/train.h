// The persistent kernel: one launch trains on many batches. Weights and optimizer state come into the shared memory of
// the blocks at the beginning, and go back at the end. `run`, at the end of this file, is a batch from its rows to new
// weights. Its phases are functions that all threads of a block call (bring.h, forward.h, loss.h, backward.h,
// weight_steps.h); between two phases lies a barrier of the block.
#pragma once
#include "cuda/chains/bring.h"
#include "cuda/chains/loss.h"
#include "cuda/chains/weight_memory.h"
#include "cuda/chains/weight_steps.h"

namespace engine::cuda::chains {

// ---- All batches ----------------------------------------------------------------------------------------------------

template <class Team>
__device__ inline void run(Block<Team>& block, const WholeBatches& batches) {
  const auto start = [&](int n) { start_bringing(block.net, block.team, batches, n); };
  const auto finish = [&](int n) { finish_bringing(block.net, block.team, n, batches.count); };
  prepare(block);
  announce_first_batch(block, batches);
  start(0);
  start_loading_weights(block, kSlotsOfWeight);
  finish(0);
  __syncthreads();
  // In a grid the wait for the terms is long, and there is no other one.
  const bool brings_ahead = block.net.batch_slots == 2, finishes_at_once = !Team::kSharesMemory;
  int64_t samples = 0;
  for (int i = 0; i < batches.count; ++i) {
    const int slot = block.slot_of(i);
    samples += block.batch_in(slot).rows;
    count_penalties(block, static_cast<double>(block.batch_in(slot).rows));
    bool waited = false;
    for (int l = 0; l < block.net.layer_count; ++l) {
      if (block.net.layers[l].split != Split::kInputs) {
        forward_alone(block, l, slot);
        continue;
      }
      compute_terms(block, l, slot);
      block.team.arrive_with_shared();
      if (brings_ahead && !waited) start(i + 1);
      if (brings_ahead && !waited && finishes_at_once) finish(i + 1);
      waited = true;
      block.team.wait();
      take_sums(block, l, slot);
    }
    clear_gradients_behind(block, static_cast<int>(block.batch_in(slot).rows));
    sum_divisor_weights(block, slot);
    compute_loss(block, slot, [&] {
      if (brings_ahead && !finishes_at_once) finish(i + 1);
    });
    for (int l = block.net.layer_count - 1; l > 0; --l) backpropagate(block, l, slot);
    step_weights(block, slot);
    __syncthreads();
    if (!brings_ahead) {
      start(i + 1);
      finish(i + 1);
      __syncthreads();
    }
  }
  store_weights(block);
  store_totals(block);
  block.team.arrive();
  block.team.wait();
  if (block.team.rank() != 0) return;
  add_to_pass(block.net, samples, 1.0, [&](int kind) {
    double sum = 0.0;
    for (int rank = 0; rank < block.team.blocks(); ++rank) sum += block.net.totals[rank * kMostTotals + kind];
    return sum;
  });
}

static_assert(sizeof(Network) + 2 * sizeof(int64_t) <= kMaxArgumentBytes);

template <class Team>
__global__ void __launch_bounds__(kBlockThreads, 1)
    train(const __grid_constant__ Network network, const Batch* batches, int count) {
  Block<Team> block{network, shared_memory(), Team(network.arrivals)};
  run(block, WholeBatches{batches, count});
}

}  // namespace engine::cuda::chains
