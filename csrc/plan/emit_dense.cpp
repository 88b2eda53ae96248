// Products with a kernel: forward with bias and activation, backward with the step of the weights, if that fits a
// product.
#include "plan/costs.h"
#include "plan/emitter.h"

namespace engine {
namespace {

Split emit_forward(Emitter& emitter, Operation& op, Split) {
  Step step{Step::Kind::kDenseForward, emitter.forward_split(op.width), false, op.in, op.out};
  emitter.reads_input(step);
  step.kernel = emitter.variables_of(op).kernel;
  step.bias = emitter.variables_of(op).bias;
  step.activation = op.activation;
  op.saved = op.out;
  emitter.emit(step);
  return step.split;
}

void emit_weight_gradient(Emitter& emitter, const Operation& op, int dz) {
  const Split split = feeds_all(op.width, emitter.plan.threads) ? Split::kUnits : Split::kInputs;
  Step step{Step::Kind::kDenseBackwardWeights, split, false, op.in, -1, dz};
  emitter.reads_input(step);
  step.kernel = emitter.variables_of(op).kernel;
  step.bias = emitter.variables_of(op).bias;
  step.stores = !emitter.fuses(step.kernel) || !emitter.fuses(step.bias);
  for (const int v : {step.kernel, step.bias}) {
    if (step.stores && v >= 0) emitter.store_gradient(v);
  }
  emitter.emit(step);
}

/// The product's epilogue takes the gradient through the activation fused into the operation before as well.
Gradient emit_input_gradient(Emitter& emitter, const Operation& op, const Operation& previous, Gradient gradient) {
  const int64_t rows = round_up(emitter.plan.max_rows * op.groups, kLane);
  const int turned = add_buffer(emitter.plan, op.width, rows);
  emitter.emit({Step::Kind::kTranspose, gradient.split, false, gradient.buffer, turned});
  const bool fused = previous.kind == Operation::Kind::kDense;
  Step step{Step::Kind::kDenseBackwardInput, Split::kUnits, false, turned};
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
