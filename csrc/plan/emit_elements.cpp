// What changes each element by itself, or each row: no weights, and gradients that may overwrite those they come from.
#include "plan/emitter.h"

namespace engine {
namespace {

using Kind = Step::Kind;

Gradient emit_in_place(Emitter& emitter, Step step, Gradient gradient) {
  step.in = step.out = gradient.buffer;
  emitter.emit(step);
  return {gradient.buffer, step.split};
}

Split emit_activation(Emitter& emitter, Operation& op, Split split) {
  Step step{Kind::kActivationForward, split, false, op.in, op.out};
  step.activation = op.activation;
  step.index = op.layer;
  op.saved = saves_input(op.activation) ? op.in : op.out;
  emitter.emit(step);
  return split;
}

Gradient emit_activation_gradient(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  Step step{Kind::kActivationBackward, gradient.split, false, -1, -1, op.saved};
  step.activation = op.activation;
  step.index = op.layer;
  return emit_in_place(emitter, step, gradient);
}

Split emit_row_activation(Emitter& emitter, Operation& op, Split) {
  Step step{Kind::kRowActivationForward, Split::kSamples, false, op.in, op.out};
  step.activation = op.activation;
  op.saved = op.out;
  emitter.emit(step);
  return Split::kSamples;
}

Gradient emit_row_activation_gradient(Emitter& emitter, const Operation& op, const Operation* previous,
                                      Gradient gradient) {
  if (!previous) return gradient;
  Step step{Kind::kRowActivationBackward, Split::kSamples, false, -1, -1, op.saved};
  step.activation = op.activation;
  return emit_in_place(emitter, step, gradient);
}

Split emit_dropout(Emitter& emitter, Operation& op, Split split) {
  Step step{Kind::kDropoutForward, split, false, op.in, op.out};
  step.index = op.layer;
  op.saved = step.saved = emitter.add_batch_buffer(op.groups, op.width);
  emitter.emit(step);
  return split;
}

Gradient emit_dropout_gradient(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  return emit_in_place(emitter, {Kind::kMultiply, gradient.split, false, -1, -1, op.saved}, gradient);
}

Split emit_affine(Emitter& emitter, Operation& op, Split split) {
  Step step{Kind::kAffine, split, false, op.in, op.out};
  step.scale = op.spec->scale;
  step.offset = op.spec->offset;
  emitter.emit(step);
  if (op.in == emitter.images && step.offset == 0.0f) emitter.images = op.out;  // zeros stay zeros
  return split;
}

Gradient emit_affine_gradient(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  Step step{Kind::kAffine, gradient.split};
  step.scale = op.spec->scale;
  return emit_in_place(emitter, step, gradient);
}

/// What comes in goes on, and its penalty into the loss.
Split emit_activity(Emitter& emitter, Operation& op, Split split) {
  op.saved = op.in;
  if (emitter.predicts()) return split;
  const bool hosted = op.spec->hosted;
  Step step{hosted ? Kind::kCustomForward : Kind::kActivityPenalty, Split::kSamples, false, op.in};
  step.index = op.layer;
  (hosted ? step.losses : step.out) = emitter.add_activity(hosted ? 1 : emitter.buffer(op.in).groups);
  emitter.emit(step);
  return hosted ? Split::kSamples : split;
}

Gradient emit_activity_gradient(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  const bool hosted = op.spec->hosted;
  Step step{hosted ? Kind::kCustomBackward : Kind::kActivityGradient, gradient.split, false, -1, -1, op.saved};
  if (hosted) step.split = Split::kSamples;
  step.index = op.layer;
  return emit_in_place(emitter, step, gradient);
}

}  // namespace

const Emission kActivationEmission{emit_activation, emit_activation_gradient};
const Emission kRowActivationEmission{emit_row_activation, emit_row_activation_gradient};
const Emission kDropoutEmission{emit_dropout, emit_dropout_gradient};
const Emission kAffineEmission{emit_affine, emit_affine_gradient};
const Emission kActivityEmission{emit_activity, emit_activity_gradient};

}  // namespace engine
