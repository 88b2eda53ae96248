// Means of the rows of a sample, of those alone that count where there is a mask, and the largest of their columns.
#include "plan/emitter.h"

namespace engine {
namespace {

using Kind = Step::Kind;

/// What each row of a sample counts for in `layer`, by the input of the operation that masks, or by what Python said of
/// its output; returns the buffer.
int emit_factors(Emitter& emitter, const Operation& mask, int layer) {
  const bool told = mask.kind == Operation::Kind::kCustom;
  Step step{Kind::kMask, Split::kSamples, false, told ? mask.saved : mask.in};
  step.out = emitter.add_batch_buffer(1, told ? mask.spec->mask_rows : mask.groups);
  step.offset = mask.spec->offset;
  step.index = layer;
  emitter.emit(step);
  return step.out;
}

bool is_max(const Operation& op) { return op.spec->kind == LayerSpec::Kind::kMax; }

Step weighed(const Operation& op, int in, int out, int64_t rows) {
  Step step{Kind::kWeighRows, Split::kSamples, false, in, out, op.saved};
  step.scale = 1.0f / static_cast<float>(rows);
  return step;
}

Split emit_mean(Emitter& emitter, Operation& op, Split) {
  if (is_max(op)) {
    op.saved = op.in;
    emitter.emit({Kind::kMaxRows, Split::kSamples, false, op.in, op.out});
    return Split::kSamples;
  }
  if (op.mask) op.saved = emit_factors(emitter, *op.mask, op.layer);
  Step step = weighed(op, op.in, op.out, op.spec->groups);
  step.kind = Kind::kMeanRows;
  emitter.emit(step);
  return step.split;
}

Gradient emit_mean_gradient(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  const int out = emitter.add_batch_buffer(op.spec->groups, op.width);
  if (is_max(op)) {
    Step step{Kind::kMaxRowsBackward, Split::kSamples, false, gradient.buffer, out, op.saved};
    step.statistics = op.out;
    emitter.emit(step);
    return {out, step.split};
  }
  emitter.emit(weighed(op, gradient.buffer, out, op.spec->groups));
  return {out, Split::kSamples};
}

Split emit_mask(Emitter& emitter, Operation& op, Split) {
  op.saved = emit_factors(emitter, op, op.layer);
  emitter.emit(weighed(op, op.in, op.out, 1));
  return Split::kSamples;
}

Gradient emit_mask_gradient(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous) return gradient;
  emitter.emit(weighed(op, gradient.buffer, gradient.buffer, 1));
  return {gradient.buffer, Split::kSamples};
}

}  // namespace

const Emission kMeanEmission{emit_mean, emit_mean_gradient};
const Emission kMaskEmission{emit_mask, emit_mask_gradient};

int emit_counted(Emitter& emitter, const Operation& mask) {
  return mask.kind == Operation::Kind::kEmbed ? emit_factors(emitter, mask, mask.layer) : mask.saved;
}

}  // namespace engine
