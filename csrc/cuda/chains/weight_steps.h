// The optimizer's steps of weights in shared memory.
#pragma once
#include "cuda/chains/backward.h"
#include "cuda/chains/quick_float.h"
#include "cuda/steps.h"

namespace engine::cuda::chains {

/// What the step of each weight of a kernel or a bias needs beside its gradient.
struct StepOfLayer {
  QuickFloat l2_slope, decay;
  __device__ StepOfLayer(const CardWeights& weights, double rate)
      : l2_slope{weights.l2_slope}, decay{static_cast<float>(rate * weights.decay)} {}
};

/// The rule's step of one weight by its gradient, as `step_weight` does it (cuda/steps.h).
template <class Rule>
__device__ static QuickFloat step(QuickFloat w, QuickFloat* slots, QuickFloat gradient, const StepOfLayer& layer,
                                  const typename Rule::Coefficients& c) {
  const QuickFloat g = formulas::fma(layer.l2_slope, w, gradient);
  return Rule::update(formulas::fma(-layer.decay, w, w), slots, g, c);
}

/// Steps four weights of a column, of which `count` or more exist. Behind the last input lie zeros, which stay zeros
/// whatever the rule makes of them. There are no branches, so that the latencies of the four steps overlap.
template <class Rule>
__device__ static void step_quad(float* weights, int slot_floats, int count, const float4& gradient,
                                 const StepOfLayer& layer, const typename Rule::Coefficients& c) {
  float w[kQuad], g[kQuad];
  QuickFloat slots[kQuad][kMaxSlots] = {};
  spread(quad_at(weights), w);
  spread(gradient, g);
  ENGINE_UNROLL(3)
  for (int s = 0; s < Rule::kSlots; ++s) {
    float four[kQuad];
    spread(quad_at(weights + (s + 1) * slot_floats), four);
    ENGINE_UNROLL(4)
    for (int j = 0; j < kQuad; ++j) slots[j][s] = {four[j]};
  }
  ENGINE_UNROLL(4)
  for (int j = 0; j < kQuad; ++j) {
    const float stepped = step<Rule>({w[j]}, slots[j], {g[j]}, layer, c).value;
    w[j] = j < count ? stepped : w[j];
  }
  quad_at(weights) = {w[0], w[1], w[2], w[3]};
  ENGINE_UNROLL(3)
  for (int s = 0; s < Rule::kSlots; ++s) {
    quad_at(weights + (s + 1) * slot_floats) = {slots[0][s].value, slots[1][s].value, slots[2][s].value,
                                                slots[3][s].value};
  }
}

/// Steps the weights of layer l, whose inputs are x.
template <class Rule, class Rows, class Team>
__device__ inline void step_layer(const Block<Team>& block, int l, const Rows& x, const QuadOrder& order, int rows,
                                  double rate, const typename Rule::Coefficients& c) {
  const DenseLayer& layer = block.net.layers[l];
  const Owned& own = block.owned(layer);
  const StepOfLayer step_of_kernel(layer.kernel, rate);
  for_kernel_gradients(block, layer, x, order, rows, worker_of(l), [&](int q, int n, const float4& gradient) {
    step_quad<Rule>(block.shared + place_of_quad(layer, n, q), layer.kernel_floats,
                    n < own.units ? own.inputs - q * kQuad : 0, gradient, step_of_kernel, c);
  });
  const StepOfLayer step_of_bias(layer.bias, rate);
  for_bias_gradients(block, l, rows, [&](int n, float gradient) {
    QuickFloat slots[kMaxSlots] = {};
    float* const at = block.shared + layer.bias_at + n;
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) slots[s] = {at[(s + 1) * layer.padded_units]};
    *at = step<Rule>({*at}, slots, {gradient}, step_of_bias, c).value;
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) at[(s + 1) * layer.padded_units] = slots[s].value;
  });
}

template <class Team>
__device__ inline void step_weights(const Block<Team>& block, int buffer) {
  const Batch& batch = block.batch_in(buffer);
  const int rows = static_cast<int>(batch.rows);
  with_formula(block.net.rule, FusedOptimizersOf<QuickFloat>{}, [&](auto chosen) {
    using Rule = typename decltype(chosen)::Type;
    static_assert(Rule::kSlots <= kSlotsOfWeight);
    const auto c = *reinterpret_cast<const typename Rule::Coefficients*>(batch.coefficients);
    const double rate = batch.step.learning_rate;
    for (int l = 0; l < block.net.layer_count; ++l) {
      block.with_inputs(l, buffer, [&](const auto& x, const QuadOrder& order) {
        step_layer<Rule>(block, l, x, order, rows, rate, c);
      });
    }
  });
}

}  // namespace engine::cuda::chains
