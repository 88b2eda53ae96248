// What optimizers do to weights, as a part of a kernel.
#pragma once
#include "cuda/kernel.h"
#include "cuda/schedule.h"
#include "formulas/optimizers.h"

namespace engine::cuda {

using AllOptimizers = formulas::Optimizers<float>;
/// Those that can step weights in the epilogue of the product that gives their gradient.
template <class V>
using FusedOptimizersOf = Types<formulas::Sgd<V>, formulas::Momentum<V>, formulas::Nesterov<V>, formulas::Adam<V>>;
using FusedOptimizers = FusedOptimizersOf<float>;

/// Limits each element of a gradient to [-limit, limit], where the optimizer has `clipvalue`.
struct ValueClip {
  float limit;
  __device__ float operator()(float gradient) const {
    return gradient > limit ? limit : gradient < -limit ? -limit : gradient;
  }
};
inline ValueClip value_clip(const OptimizerSpec& optimizer) {
  const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
  return {by_value ? static_cast<float>(optimizer.limit) : formulas::kInfinity};
}

/// Steps weight number `at` by its gradient, with decoupled weight decay (Loshchilov & Hutter 2019). Where the rule
/// gives a direction, the weight stays and the direction is returned; else the gradient is.
template <class Rules>
__device__ __noinline__ float step_weight(Optimizer rule, const CardWeights& weights, int64_t at, float gradient,
                                          const Batch& batch) {
  float result = gradient;
  with_formula(rule, Rules{}, [&](auto chosen) {
    using Rule = typename decltype(chosen)::Type;
    using Coefficients = typename Rule::Coefficients;
    static_assert(sizeof(Coefficients) <= kCoefficientBytes);
    constexpr bool kLeftToAdam = Rule::kKind == Optimizer::kMuonAdam;
    const auto& c = *reinterpret_cast<const Coefficients*>(kLeftToAdam ? batch.adam_coefficients : batch.coefficients);
    float w = weights.values[at];
    float slots[kMaxSlots] = {};
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) slots[s] = weights.slots[s][at];
    if constexpr (starts_from_weights(Rule::kKind)) Rule::start(w, slots, c);
    w = formulas::fma(-static_cast<float>(batch.step.learning_rate * weights.decay), w, w);
    const float stepped = Rule::update(w, slots, gradient, c);
    weights.values[at] = gives_direction(Rule::kKind) ? w : stepped;
    if constexpr (gives_direction(Rule::kKind)) result = stepped;
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) weights.slots[s][at] = slots[s];
  });
  return result;
}

}  // namespace engine::cuda
