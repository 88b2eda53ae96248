// Products with a kernel: forward with bias and activation, backward with the step of the weights, if that fits a
// product.
#include "plan/costs.h"
#include "plan/emitter.h"

namespace engine {
namespace {

/// What crosses from thread to thread are sums, and no units of the layer before. Of few rows everybody adds them up,
/// with one barrier in place of two: no gradient crosses then.
Split emit_partial_products(Emitter& emitter, Operation& op) {
  const bool few = pays_to_repeat_loss(emitter.plan.max_rows, emitter.plan.threads);
  if (few) give_copies(emitter.plan, op.out);
  const int64_t slices = divide_up(emitter.buffer(op.in).columns, kSlice);
  const int partials = add_buffer(emitter.plan, (few ? 2 : 1) * slices, emitter.plan.max_rows * kLane);
  emitter.plan.buffers.back().alternates = few;
  Step step{Step::Kind::kPartialProducts, Split::kInputs, false, op.in, partials};
  step.kernel = emitter.variables_of(op).kernel;
  step.bias = emitter.variables_of(op).bias;
  emitter.emit(step);
  step.kind = Step::Kind::kSumPartials;
  step.split = few ? Split::kEveryone : Split::kSamples;
  step.in = partials;
  step.out = op.out;
  step.bias = -1;
  emitter.emit(step);
  return step.split;
}

Split emit_forward(Emitter& emitter, Operation& op, Split split) {
  const bool alone = op.feeds_loss && op.groups == 1 && op.activation == Activation::kLinear;
  if (alone && split == Split::kUnits &&
      pays_to_sum_partials(emitter.buffer(op.in).columns, op.width, emitter.plan.threads)) {
    return emit_partial_products(emitter, op);
  }
  if (op.in == emitter.images && op.groups == 1) emitter.record_images(op.width);
  Step step{Step::Kind::kDenseForward, emitter.forward_split(op.width), false, op.in, op.out};
  emitter.reads_input(step);
  step.kernel = emitter.variables_of(op).kernel;
  step.bias = emitter.variables_of(op).bias;
  step.activation = op.activation;
  if (!step.compressed) {
    step.room = emitter.room_for(emitter.plan.max_rows * op.groups, emitter.buffer(op.in).columns, op.width);
  }
  op.saved = op.out;
  emitter.emit(step);
  return step.split;
}

void emit_weight_gradient(Emitter& emitter, const Operation& op, int dz) {
  const Split split = feeds_all(op.width, emitter.plan.threads) ? Split::kUnits : Split::kInputs;
  Step step{Step::Kind::kDenseBackwardWeights, split, false, op.in, -1, dz};
  emitter.reads_input(step);
  const Buffer& in = emitter.buffer(op.in);
  if (step.compressed) {
    step.out = add_compressed_sums(emitter.plan, in.columns);
  } else {
    step.room = emitter.room_for(emitter.plan.max_rows * op.groups, in.columns, op.width);
  }
  step.kernel = emitter.variables_of(op).kernel;
  step.bias = emitter.variables_of(op).bias;
  if (emitter.fuses(step.kernel) && emitter.fuses(step.bias)) return emitter.emit(step);
  emitter.emit_gradients(step, {step.kernel, step.bias});
}

/// The product's epilogue takes the gradient through the activation fused into the operation before as well.
Gradient emit_input_gradient(Emitter& emitter, const Operation& op, const Operation& previous, Gradient gradient) {
  const int64_t rows = emitter.plan.max_rows * op.groups;
  int dz = gradient.buffer;
  const int room = emitter.room_for(rows, previous.width, op.width);
  if (room < 0 && !transposes_kernel(rows, op.width)) {
    const int transposed = emitter.add_buffer(op.width, round_up(rows, kLane), gradient.split);
    emitter.emit({Step::Kind::kTranspose, gradient.split, false, dz, transposed});
    dz = transposed;
  }
  const bool fused = previous.kind == Operation::Kind::kDense;
  Step step{Step::Kind::kDenseBackwardInput, Split::kUnits, false, dz};
  step.room = room;
  step.transposed = dz != gradient.buffer;
  step.out = emitter.add_batch_buffer(previous.groups, previous.width);
  step.saved = fused ? previous.saved : -1;
  step.kernel = emitter.variables_of(op).kernel;
  step.activation = fused ? previous.activation : Activation::kLinear;
  emitter.emit(step);
  return {step.out, step.split, true};
}

Gradient emit_backward(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  const int dz = gradient.buffer;
  if (previous) gradient = emit_input_gradient(emitter, op, *previous, gradient);
  if (op.trainable) emit_weight_gradient(emitter, op, dz);
  return gradient;
}

}  // namespace

const Emission kDenseEmission{emit_forward, emit_backward};

}  // namespace engine
