// Layers that Python computes, between the stretches of everything else.
#include "plan/emitter.h"

namespace engine {
namespace {

Split emit_forward(Emitter& emitter, Operation& op, Split) {
  Step step{Step::Kind::kCustomForward, Split::kNone, false, op.in, op.out};
  step.index = op.layer;
  step.losses = emitter.add_activity(1);
  if (op.mask) op.counted = emit_counted(emitter, *op.mask);
  step.counted = op.counted;
  if (masks(*op.spec)) op.saved = step.saved = emitter.add_batch_buffer(1, op.spec->mask_rows);
  emitter.emit(step);
  return Split::kSamples;
}

Gradient emit_backward(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous && !op.trainable) return gradient;
  Step step{Step::Kind::kCustomBackward, Split::kNone, false, gradient.buffer, -1, op.in};
  step.counted = op.counted;
  if (previous) step.out = emitter.add_batch_buffer(previous->groups, previous->width);
  step.index = op.layer;
  const std::vector<LayerSpec::Custom>& variables = op.spec->variables;
  std::vector<int> learning;
  for (size_t i = 0; i < variables.size() && op.spec->trainable; ++i) {
    if (variables[i].trainable) learning.push_back(emitter.variables_of(op).first + static_cast<int>(i));
  }
  emitter.emit_gradients(step, learning);
  return {step.out, Split::kSamples};
}

}  // namespace

const Emission kCustomEmission{emit_forward, emit_backward};

}  // namespace engine
