// A batch from its inputs to the gradient of its loss by the sums of all layers.
#pragma once
#include "cuda/chains/loss.h"

namespace engine::cuda::chains {

/// Goes forwards and backwards through all layers, with the batch in a buffer. Once it calls `while_sums_come`, when
/// blocks first wait for partial sums, if layers are split; and once `while_gradients_come`, when they wait for the
/// gradient of the loss. Between two phases lies a barrier of the block.
template <class Team, class F, class G>
__device__ inline void forward_and_backward(Block<Team>& block, int buffer, F&& while_sums_come,
                                            G&& while_gradients_come) {
  bool waited = false;
  for (int l = 0; l < block.net.layer_count; ++l) {
    if (block.net.layers[l].split != Split::kInputs) {
      forward_with_all_inputs(block, l, buffer);
      continue;
    }
    compute_partial_sums(block, l, buffer);
    block.team.arrive_with_shared();
    if (!waited) while_sums_come();
    waited = true;
    block.team.wait();
    finish_split_layer(block, l, buffer);
  }
  clear_gradients_behind(block, static_cast<int>(block.batch_in(buffer).rows));
  sum_divisor_weights(block, buffer);
  compute_loss(block, buffer, while_gradients_come);
  for (int l = block.net.layer_count - 1; l > 0; --l) backpropagate(block, l, buffer);
}

}  // namespace engine::cuda::chains
