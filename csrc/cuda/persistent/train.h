// The persistent kernel: one launch trains on many batches. Weights and optimizer state come into the shared memory of
// the blocks at the beginning, and go back at the end. `run`, at the end of this file, is a batch from its rows to new
// weights. Its phases are functions that all threads of a block call (bring.h, forward.h, loss.h, backward.h,
// weight_steps.h); between two phases lies a barrier of the block.
#pragma once
#include "cuda/persistent/bring.h"
#include "cuda/persistent/loss.h"
#include "cuda/persistent/weight_steps.h"

namespace engine::cuda::persistent {

// ---- Weights between memory of the card and shared memory -----------------------------------------------------------

/// Calls f(place in shared memory, the number in memory of the card) for the weights of a layer and their slots.
/// `all` says whether also for those that the first block answers for.
template <class Team, class F>
__device__ inline void for_weights(const Block<Team>& block, const DenseLayer& layer, bool all, F&& f) {
  const Share& own = block.share(layer);
  const bool kernel = all || layer.split != Split::kNone || block.team.rank() == 0;
  const bool bias = layer.has_bias && (all || layer.split == Split::kColumns || block.team.rank() == 0);
  for (int s = -1; s < kSlotsOfWeight; ++s) {
    float* const kernel_on_card = s < 0 ? layer.kernel.values : layer.kernel.slots[s];
    float* const bias_on_card = s < 0 ? layer.bias.values : layer.bias.slots[s];
    if (kernel && kernel_on_card) {
      for_each_of_block(own.inputs * own.units, [&](int i) {
        const int k = i / own.units, n = i % own.units;
        f(block.shared[place_of_quad(layer, n, k / kQuad) + k % kQuad + (s + 1) * layer.kernel_floats],
          kernel_on_card[static_cast<int64_t>(own.first_input + k) * layer.units + own.first_unit + n]);
      });
    }
    if (bias && bias_on_card) {
      for_each_of_block(own.units, [&](int n) {
        f(block.shared[layer.bias_at + (s + 1) * layer.padded_units + n], bias_on_card[own.first_unit + n]);
      });
    }
  }
}

template <class Team>
__device__ inline void load_weights(const Block<Team>& block) {
  for (int l = 0; l < block.net.layer_count; ++l) {
    for_weights(block, block.net.layers[l], true, [](float& here, float& on_card) { here = on_card; });
  }
}
template <class Team>
__device__ inline void store_weights(const Block<Team>& block) {
  for (int l = 0; l < block.net.layer_count; ++l) {
    for_weights(block, block.net.layers[l], false, [](float& here, float& on_card) { on_card = here; });
  }
}

// ---- All batches ----------------------------------------------------------------------------------------------------

template <class Team>
__device__ inline void run(Block<Team>& block, const Batch* batches, int64_t count) {
  const auto start = [&](int64_t n) { start_bringing(block.net, block.team, batches, n, count); };
  const auto finish = [&](int64_t n) { finish_bringing(block.net, block.team, n, count); };
  for_each_of_block(block.net.floats, [&](int i) { block.shared[i] = 0.0f; });
  __syncthreads();
  block.note_shares();
  __syncthreads();
  load_weights(block);
  announce_first_batch(block, batches);
  start(0);
  finish(0);
  __syncthreads();
  // In a grid the wait for the terms is long, and there is no other one.
  const bool brings_ahead = block.net.batch_slots == 2, finishes_at_once = !Team::kSharesMemory;
  int64_t samples = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int slot = block.slot_of(i);
    samples += block.batch_in(slot).rows;
    count_penalties(block, slot);
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
  add_totals(block, samples);
}

static_assert(sizeof(Network) + 2 * sizeof(int64_t) <= kMaxArgumentBytes);

template <class Team>
__global__ void __launch_bounds__(kBlockThreads, 1)
    train(const __grid_constant__ Network network, const Batch* batches, int64_t count) {
  Block<Team> block{network, shared_memory(), Team(network.arrivals)};
  run(block, batches, count);
}

}  // namespace engine::cuda::persistent
