// Weights between memory of the card, where they lie row by row, and the shared memory of the blocks of a team, of
// which each has its share.
#pragma once
#include "cuda/chains/batches.h"

namespace engine::cuda::chains {

/// Calls f(place in shared memory, the number in memory of the card) for the weights of a layer and `slots` of their
/// slots. `all` says whether also for those that the first block answers for. A warp has a row of the kernel.
template <class Team, class F>
__device__ inline void for_weights(const Block<Team>& block, const DenseLayer& layer, bool all, int slots, F&& f) {
  const Share& own = block.share(layer);
  const bool kernel = all || layer.split != Split::kNone || block.team.rank() == 0;
  const bool bias = layer.has_bias && (all || layer.split == Split::kColumns || block.team.rank() == 0);
  ENGINE_UNROLL(1)
  for (int s = -1; s < slots; ++s) {
    float* const kernel_on_card = s < 0 ? layer.kernel.values : layer.kernel.slots[s];
    float* const bias_on_card = s < 0 ? layer.bias.values : layer.bias.slots[s];
    if (kernel && kernel_on_card) {
      ENGINE_UNROLL(1)
      for (int k = warp(); k < own.inputs; k += kBlockWarps) {
        float* const row = kernel_on_card + static_cast<int64_t>(own.first_input + k) * layer.units + own.first_unit;
        for (int n = lane(); n < own.units; n += kWarp) {
          f(block.shared[place_of_quad(layer, n, k / kQuad) + k % kQuad + (s + 1) * layer.kernel_floats], row[n]);
        }
      }
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

/// What a kernel begins with: fills shared memory with zeros, and notes the shares of this block.
template <class Team>
__device__ inline void prepare(const Block<Team>& block) {
  const float4 zeros = {};
  for_each_of_block(block.net.floats / kQuad, [&](int i) { quad_at(block.shared + i * kQuad) = zeros; });
  __syncthreads();
  block.note_shares();
  __syncthreads();
}

}  // namespace engine::cuda::chains
