// What moves numbers without changing them.
#include "plan/emitter.h"

namespace engine {
namespace {

using Kind = Step::Kind;

Split emit_reshape(Emitter& emitter, Operation& op, Split) {
  emitter.emit({Kind::kReshape, Split::kSamples, false, op.in, op.out});
  return Split::kSamples;
}

Gradient emit_reshape_gradient(Emitter& emitter, const Operation&, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  const int out = emitter.add_batch_buffer(previous->groups, previous->width);
  emitter.emit({Kind::kReshape, Split::kSamples, false, gradient.buffer, out});
  return {out, Split::kSamples};
}

Split emit_take(Emitter& emitter, Operation& op, Split) {
  Step step{Kind::kTake, Split::kSamples, false, op.in, op.out};
  step.index = op.layer;
  emitter.emit(step);
  return step.split;
}

Gradient emit_take_gradient(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  Step step{Kind::kTakeBackward, Split::kSamples, false, gradient.buffer};
  step.out = emitter.add_batch_buffer(previous->groups, previous->width);
  step.index = op.layer;
  emitter.emit(step);
  return {step.out, step.split};
}

}  // namespace

const Emission kReshapeEmission{emit_reshape, emit_reshape_gradient};
const Emission kTakeEmission{emit_take, emit_take_gradient};

}  // namespace engine
