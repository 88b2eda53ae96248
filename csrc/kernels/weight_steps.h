// Kernels between a stored gradient and the weights: penalties are added, gradients are accumulated and clipped, an
// optimizer steps the weights, and averages of the weights are kept.
#pragma once
#include "kernels/blocks.h"
#include "kernels/optimizers.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// w = Opt(w - learning_rate decay w, clip(scale gradient)). An optimizer that gives a direction stores it in place of
/// the gradient.
template <class Opt>
void step_weights(const WeightStepArgs& op) {
  const auto c = Opt::coefficients(op.step);
  const vf decay = constant(op.step.learning_rate * op.weights.decay);
  const vf scale = broadcast(op.scale), limit = broadcast(op.limit);
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) {
    const vf g = scale * load(op.gradient + at);
    const vf clipped = g > limit ? limit : g < -limit ? -limit : g;
    vf w = load(op.weights.values + at);
    vf slots[kMaxSlots];
#pragma GCC unroll 3
    for (int s = 0; s < Opt::kSlots; ++s) slots[s] = load(op.weights.slots[s] + at);
    if constexpr (starts_from_weights(Opt::kKind)) Opt::start(w, slots, c);
    w = fma(-decay, w, w);
    const vf stepped = Opt::update(w, slots, clipped, c);
    store(op.weights.values + at, gives_direction(Opt::kKind) ? w : stepped);
    if constexpr (gives_direction(Opt::kKind)) store(op.gradient + at, stepped);
#pragma GCC unroll 3
    for (int s = 0; s < Opt::kSlots; ++s) store(op.weights.slots[s] + at, slots[s]);
  });
}

void penalty_gradient(const WeightBlock& op, double l1, double l2) {
  const vf a = constant(l1), b = constant(2.0 * l2);
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) {
    const vf w = load(op.weights + at);
    const vf slope = w < 0.0f ? -a : a;  // the slope of |w| at 0 is 1, as in JAX
    store(op.other + at, fma(b, w, load(op.other + at) + slope));
  });
}

void accumulate(const WeightBlock& op) {
  for_block(op.rows, op.columns, op.ld,
            [&](int64_t at) { store(op.other + at, load(op.other + at) + load(op.weights + at)); });
}

void take_mean(const WeightBlock& op, int64_t count) {
  const vf n = constant(static_cast<double>(count));
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) {
    store(op.weights + at, (load(op.weights + at) + load(op.other + at)) / n);
    store(op.other + at, vf{});
  });
}

void subtract(const WeightBlock& op, float factor) {
  const vf f = broadcast(-factor);
  for_block(op.rows, op.columns, op.ld,
            [&](int64_t at) { store(op.weights + at, fma(f, load(op.other + at), load(op.weights + at))); });
}

void average(const WeightBlock& op, double momentum, bool overwrite) {
  const vf m = constant(momentum), rest = constant(1.0 - momentum);
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) {
    const vf mean = fma(m, load(op.other + at), rest * load(op.weights + at));
    store(op.other + at, mean);
    if (overwrite) store(op.weights + at, mean);
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
