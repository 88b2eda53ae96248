// Gradients of weights, and the optimizer's steps by them.
#pragma once
#include "cuda/persistent/block.h"
#include "cuda/persistent/quick_float.h"
#include "cuda/steps.h"

namespace engine::cuda::persistent {

/// What the step of each weight of a kernel or a bias needs beside its gradient.
struct StepOfLayer {
  QuickFloat l2_slope, decay;
  __device__ StepOfLayer(const Weights& weights, double rate)
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

/// Steps the kernel of a layer: a warp has 8 quads of inputs and 8 columns at a time. `worker` is its number.
template <class Rule, class Rows, class Team>
__device__ inline void step_kernel(const Block<Team>& block, const DenseLayer& layer, const Rows& x,
                                   const QuadOrder& order, int rows, int worker, double rate,
                                   const typename Rule::Coefficients& c) {
  const Share& own = block.share(layer);
  const int chunks = (own.units + kColumns - 1) / kColumns;
  const int items = (order.all + kQuadsOfWarp - 1) / kQuadsOfWarp * chunks;
  const StepOfLayer step(layer.kernel, rate);
  for (int item = worker; item < items; item += kBlockWarps) {
    __syncwarp();  // lanes may have left the item before early, and tensor cores take the operands of all at once
    const int of_chunks = divide(item, chunks), chunk = item - of_chunks * chunks;
    const int i = of_chunks * kQuadsOfWarp + lane() / kThreadsOfQuad;
    const int q = order[i < order.all ? i : 0];
    const GradientOfThread gradient = sum_gradient(
        x, q, i < order.live, block.shared + layer.gradient_at + chunk * kColumns, layer.padded_units, rows);
    if (i >= order.all) continue;
    const int first = lane() % kThreadsOfQuad * 2;
    float* const weights = block.shared + place_of_quad(layer, chunk * kColumns, q) + first * kQuad;
    ENGINE_UNROLL(2)
    for (int column = 0; column < 2; ++column) {
      const bool is_unit = chunk * kColumns + first + column < own.units;
      step_quad<Rule>(weights + column * kQuad, layer.kernel_floats, is_unit ? own.inputs - q * kQuad : 0,
                      gradient.columns[column], step, c);
    }
  }
}

/// Steps the biases of a layer, by the last warp: it has the fewest products.
template <class Rule, class Team>
__device__ inline void step_bias(const Block<Team>& block, const DenseLayer& layer, int rows, double rate,
                                 const typename Rule::Coefficients& c) {
  if (!layer.has_bias || warp() != kBlockWarps - 1) return;
  const StepOfLayer step_of_layer(layer.bias, rate);
  for (int n = lane(); n < block.share(layer).units; n += kWarp) {
    float sum = 0.0f;
    QuickFloat slots[kMaxSlots] = {};
    for (int b = 0; b < rows; ++b) sum = sum + block.shared[layer.gradient_at + b * layer.padded_units + n];
    float* const own = block.shared + layer.bias_at + n;
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) slots[s] = {own[(s + 1) * layer.padded_units]};
    *own = step<Rule>({*own}, slots, {sum}, step_of_layer, c).value;
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) own[(s + 1) * layer.padded_units] = slots[s].value;
  }
}

template <class Team>
__device__ inline void step_weights(const Block<Team>& block, int slot) {
  const Batch& batch = block.batch_in(slot);
  const int rows = static_cast<int>(batch.rows);
  with_formula(block.net.rule, FusedOptimizersOf<QuickFloat>{}, [&](auto chosen) {
    using Rule = typename decltype(chosen)::Type;
    static_assert(Rule::kSlots <= kSlotsOfWeight);
    const auto c = *reinterpret_cast<const typename Rule::Coefficients*>(batch.coefficients);
    const double rate = batch.step.learning_rate;
    for (int l = 0; l < block.net.layer_count; ++l) {
      const DenseLayer& layer = block.net.layers[l];
      block.with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
        // The warps that have the fewest products of one layer begin with those of the next one.
        const int worker = l % 2 == 0 ? warp() : kBlockWarps - 1 - warp();
        step_kernel<Rule>(block, layer, x, order, rows, worker, rate, c);
      });
      step_bias<Rule>(block, layer, rows, rate, c);
    }
  });
}

}  // namespace engine::cuda::persistent
