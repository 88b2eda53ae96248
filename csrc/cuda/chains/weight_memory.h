// Weights between memory of the card, where they lie row by row, and the shared memory of the blocks of a team, of
// which each owns a part.
#pragma once
#include "cuda/chains/block.h"
#include "cuda/chains/copies.h"

namespace engine::cuda::chains {

/// Calls f(place in shared memory, the number in memory of the card) for this block's part of a kernel. A row of it has
/// 8, 16 or 32 threads.
template <class Team, class F>
__device__ inline void for_kernel(const Block<Team>& block, const DenseLayer& layer, float* shared, float* on_card,
                                  F&& f) {
  const Owned& own = block.owned(layer);
  const int log = own.units > 16 ? 5 : own.units > 8 ? 4 : 3, threads = 1 << log;
  const int first = thread() & (threads - 1);
  const int stride = threads / kColumns * (layer.padded_inputs / kQuad) * kQuadStride;
  ENGINE_UNROLL(1)
  for (int k = thread() >> log; k < own.inputs; k += kBlockThreads >> log) {
    float* here = shared + place_of_quad(layer, first, k / kQuad) + k % kQuad;
    float* there = on_card + static_cast<int64_t>(own.first_input + k) * layer.units + own.first_unit + first;
    ENGINE_UNROLL(1)
    for (int n = first; n < own.units; n += threads, here += stride, there += threads) f(*here, *there);
  }
}

/// The same for all weights of a layer and `slots` of their slots. `all` says whether also for those that the first
/// block answers for.
template <class Team, class F>
__device__ inline void for_weights(const Block<Team>& block, const DenseLayer& layer, bool all, int slots, F&& f) {
  const Owned& own = block.owned(layer);
  const bool kernel = all || block.answers_for_kernel(layer),
             bias = layer.has_bias && (all || block.answers_for_bias(layer));
  ENGINE_UNROLL(1)
  for (int s = -1; s < slots; ++s) {
    float* const kernel_on_card = s < 0 ? layer.kernel.values : layer.kernel.slots[s];
    float* const bias_on_card = s < 0 ? layer.bias.values : layer.bias.slots[s];
    if (kernel && kernel_on_card) {
      for_kernel(block, layer, block.shared + (s + 1) * layer.kernel_floats, kernel_on_card, f);
    }
    if (bias && bias_on_card) {
      for_each_of_block(own.units, [&](int n) {
        f(block.shared[layer.bias_at + (s + 1) * layer.padded_units + n], bias_on_card[own.first_unit + n]);
      });
    }
  }
}

/// Starts to copy all weights to shared memory; `wait_for_copies` waits for them, and for the threads a barrier.
template <class Team>
__device__ inline void start_loading_weights(const Block<Team>& block, int slots) {
  for (int l = 0; l < block.net.layer_count; ++l) {
    for_weights(block, block.net.layers[l], true, slots,
                [](float& here, const float& on_card) { start_copy(&here, &on_card); });
  }
}

template <class Team>
__device__ inline void store_weights(const Block<Team>& block) {
  for (int l = 0; l < block.net.layer_count; ++l) {
    for_weights(block, block.net.layers[l], false, kSlotsOfWeight,
                [](const float& here, float& on_card) { on_card = here; });
  }
}

}  // namespace engine::cuda::chains
