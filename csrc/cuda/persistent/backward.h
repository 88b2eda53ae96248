// Backwards: gradients of the loss by the sums of each layer.
#pragma once
#include "cuda/persistent/forward.h"

namespace engine::cuda::persistent {

__device__ __noinline__ float activate_backward_by_formula(const Stage& stage, float dy, float saved) {
  return backward(stage.activation, dy, saved, stage.parameters);
}
__device__ inline float activate_backward(const Stage& stage, float dy, float saved) {
  return is_fused(stage.activation) ? fused_backward(stage.activation, dy, saved)
                                    : activate_backward_by_formula(stage, dy, saved);
}

template <class Team>
__device__ inline float backward_through_stages(const Block<Team>& block, const DenseLayer& layer, int b, int n,
                                                float dy) {
  ENGINE_UNROLL(1)
  for (int s = layer.stage_count - 1; s >= 0; --s) {
    const Stage& stage = layer.stages[s];
    const float saved = block.shared[stage.saved_at + b * layer.ld_out + n];
    dy = stage.is_dropout ? dy * saved : activate_backward(stage, dy, saved);
  }
  return dy;
}

/// The gradient by output n of row b becomes that by the sum.
template <class Team>
__device__ inline void finish_gradient(const Block<Team>& block, const DenseLayer& layer, int b, int n, float dy) {
  block.shared[layer.gradient_at + b * layer.padded_units + n] = backward_through_stages(block, layer, b, n, dy);
}

/// Calls f(b, quad, the sum over units `first` to `end` of dz[b,n] kernel[quad,n]) for each quad of a layer's inputs.
template <class Team, class F>
__device__ inline void for_input_gradients(const Block<Team>& block, const DenseLayer& layer, int rows, int first,
                                           int end, F&& f) {
  for_elements({0, rows}, quads_of(block.share(layer).inputs), [&](int b, int q) {
    const float* const dz = block.shared + layer.gradient_at + b * layer.padded_units;
    float4 sum = {};
    for (int n = first; n < end; ++n) add_product(sum, quad_at(block.shared + place_of_quad(layer, n, q)), dz[n]);
    f(b, q, sum);
  });
}

/// The gradients by the sums of the layer below, from those of layer l.
template <class Team>
__device__ inline void backpropagate(Block<Team>& block, int l, int slot) {
  const DenseLayer &layer = block.net.layers[l], &below = block.net.layers[l - 1];
  const int rows = static_cast<int>(block.batch_in(slot).rows);
  const Share& own = block.share(layer);
  if (layer.split != Split::kColumns) {
    for_input_gradients(block, layer, rows, 0, layer.units, [&](int b, int q, const float4& sum) {
      float dy[kQuad];
      spread(sum, dy);
      ENGINE_UNROLL(4)
      for (int j = 0; j < kQuad; ++j) {
        if (q * kQuad + j < own.inputs) finish_gradient(block, below, b, q * kQuad + j, dy[j]);
      }
    });
    __syncthreads();
    return;
  }
  const int ld = layer.padded_inputs;
  for (int s = 0; s < own.slices; ++s) {
    const int first = s * layer.width, end = smaller(first + layer.width, own.units);
    for_input_gradients(block, layer, rows, first, end, [&](int b, int q, const float4& sum) {
      quad_at(own_terms(block, own.first_slice + s, s, b, ld) + q * kQuad) = sum;
    });
  }
  block.team.arrive_with_shared();
  block.team.wait();
  float* const gathered = block.shared + block.net.gathered_at;
  add_terms(block, layer, rows, layer.inputs, ld, [&](int b, int k, float dy) { gathered[b * ld + k] = dy; });
  gather_rows(block, block.net.gathered_at, ld, rows, [] {});
  for_elements({0, rows}, layer.inputs,
               [&](int b, int k) { finish_gradient(block, below, b, k, gathered[b * ld + k]); });
  __syncthreads();
}

}  // namespace engine::cuda::persistent
