// Layers that bring each row to a common scale, and those whose rows are tokens.
#include "plan/emitter.h"

namespace engine {
namespace {

using Kind = Step::Kind;

Split emit_standardization(Emitter& emitter, Operation& op, Split) {
  constexpr int64_t kFactors = 2;
  Step step{Kind::kStandardizeRows, Split::kSamples, false, op.in, op.out};
  step.statistics = op.statistics = emitter.add_batch_buffer(op.groups, kFactors);
  step.index = op.layer;
  emitter.emit(step);
  return step.split;
}

Gradient emit_standardization_gradient(Emitter& emitter, const Operation& op, const Operation* previous,
                                       Gradient gradient) {
  if (!previous) return gradient;
  Step step{Kind::kStandardizeRowsBackward, Split::kSamples, false, gradient.buffer, gradient.buffer, op.out};
  step.statistics = op.statistics;
  step.index = op.layer;
  emitter.emit(step);
  return {gradient.buffer, step.split};
}

Split emit_embedding(Emitter& emitter, Operation& op, Split) {
  Step step{Kind::kEmbed, Split::kSamples, false, op.in, op.out};
  step.kernel = emitter.variables_of(op).kernel;
  emitter.emit(step);
  return step.split;
}

Gradient emit_embedding_gradient(Emitter& emitter, const Operation& op, const Operation*, Gradient gradient) {
  Step step{Kind::kEmbedBackward, Split::kUnits, false, gradient.buffer, -1, op.in};
  step.kernel = emitter.variables_of(op).kernel;
  if (!op.trainable) return gradient;
  emitter.emit_gradients(step, {step.kernel});
  return gradient;
}

Split emit_encoding(Emitter& emitter, Operation& op, Split) {
  Step step{Kind::kEncode, Split::kSamples, false, op.in, op.out};
  step.index = op.layer;
  emitter.emit(step);
  return step.split;
}

/// There is none: nothing before learns.
Gradient emit_encoding_gradient(Emitter&, const Operation&, const Operation*, Gradient gradient) { return gradient; }

}  // namespace

const Emission kStandardizeRowsEmission{emit_standardization, emit_standardization_gradient};
const Emission kEmbedEmission{emit_embedding, emit_embedding_gradient};
const Emission kEncodeEmission{emit_encoding, emit_encoding_gradient};

}  // namespace engine
