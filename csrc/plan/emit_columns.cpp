// Layers with numbers of their own per column: statistics of the batch, learned factors and slopes.
#include "plan/emitter.h"

namespace engine {
namespace {

using Kind = Step::Kind;

bool takes_statistics(const Emitter& emitter, const Operation& op) {
  return op.spec->kind == LayerSpec::Kind::kBatchNormalization && emitter.drops_out() && op.spec->trainable;
}

/// What is subtracted and divided by: of the batch, or variables.
void refer_to_statistics(const Emitter& emitter, const Operation& op, Step& step) {
  step.index = op.layer;
  step.statistics = op.statistics;
  if (op.statistics >= 0) return;
  step.mean = emitter.variables_of(op).mean;
  step.variance = emitter.variables_of(op).variance;
}

/// What brings the batch's numbers to where the running ones would.
void emit_corrections(Emitter& emitter, Operation& op) {
  constexpr int64_t kNumbers = 3;  // r, d, deviation
  op.corrections = add_buffer(emitter.plan, kNumbers, op.width);
  Step step{Kind::kCorrections, Split::kUnits, false, op.statistics, op.corrections};
  step.mean = emitter.variables_of(op).renorm + 1;
  step.variance = step.mean + 1;
  step.index = op.layer;
  emitter.emit(step);
}

/// y = r x + d, or back; no gradient goes through r and d.
Step corrected(const Operation& op, Kind kind, int in, int out) {
  Step step{kind, Split::kUnits, false, in, out, op.saved};
  step.statistics = op.corrections;
  step.index = op.layer;
  return step;
}

Split emit_standardization(Emitter& emitter, Operation& op, Split split) {
  if (takes_statistics(emitter, op)) {
    split = Split::kUnits;
    op.statistics = add_buffer(emitter.plan, 2, op.width);
    if (op.mask) op.counted = emit_counted(emitter, *op.mask);
    Step statistics{Kind::kColumnStatistics, split, false, op.in, op.statistics};
    statistics.counted = op.counted;
    emitter.emit(statistics);
    if (op.spec->renorm) emit_corrections(emitter, op);
    Step average{Kind::kMovingAverage, split, false, op.statistics, -1, op.corrections};
    average.mean = emitter.variables_of(op).mean;
    average.variance = emitter.variables_of(op).variance;
    average.kernel = emitter.variables_of(op).renorm;
    average.index = op.layer;
    emitter.emit_last(average);
  }
  const bool corrects = op.corrections >= 0;
  op.saved = corrects ? emitter.add_batch_buffer(op.groups, op.width) : op.out;
  Step step{Kind::kStandardizeColumns, split, false, op.in, op.saved};
  refer_to_statistics(emitter, op, step);
  emitter.emit(step);
  if (corrects) emitter.emit(corrected(op, Kind::kLearnedForward, op.saved, op.out));
  return split;
}

Gradient emit_standardization_gradient(Emitter& emitter, const Operation& op, const Operation* previous,
                                       Gradient gradient) {
  if (!previous) return gradient;
  const bool of_batch = op.statistics >= 0;
  if (op.corrections >= 0) {
    emitter.emit(corrected(op, Kind::kLearnedBackward, gradient.buffer, gradient.buffer));
  }
  Step step{Kind::kStandardizeColumnsBackward, of_batch ? Split::kUnits : gradient.split};
  step.in = step.out = gradient.buffer;
  step.saved = of_batch ? op.saved : -1;
  step.counted = op.counted;
  refer_to_statistics(emitter, op, step);
  emitter.emit(step);
  return {gradient.buffer, step.split};
}

Split emit_learned(Emitter& emitter, Operation& op, Split split) {
  Step step{Kind::kLearnedForward, split, false, op.in, op.out};
  step.kernel = emitter.variables_of(op).kernel;
  step.bias = emitter.variables_of(op).bias;
  step.index = op.layer;
  emitter.emit(step);
  return split;
}

Gradient emit_learned_gradients(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  Step step{Kind::kLearnedGradients, Split::kUnits, false, gradient.buffer, -1, op.in};
  step.kernel = emitter.variables_of(op).kernel;
  step.bias = emitter.variables_of(op).bias;
  step.index = op.layer;
  if (op.trainable) {
    emitter.emit_gradients(step, {step.kernel, step.bias});
    gradient.split = step.split;
  }
  if (!previous || !op.spec->use_gain) return gradient;
  step.kind = Kind::kLearnedBackward;
  step.split = gradient.split;
  step.out = gradient.buffer;
  emitter.emit(step);
  return {gradient.buffer, step.split};
}

}  // namespace

const Emission kStandardizeColumnsEmission{emit_standardization, emit_standardization_gradient};
const Emission kLearnedEmission{emit_learned, emit_learned_gradients};

}  // namespace engine
