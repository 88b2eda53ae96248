// Noise in training: drawn, brought to its places, joined with the numbers.
#include "plan/emitter.h"

namespace engine {
namespace {

using Kind = Step::Kind;

Kind joining(LayerSpec::Combination combination) {
  switch (combination) {
    case LayerSpec::Combination::kAdd:
      return Kind::kAdd;
    case LayerSpec::Combination::kAlpha:
      return Kind::kAlpha;
    case LayerSpec::Combination::kMultiply:
      break;
  }
  return Kind::kMultiply;
}

Split emit_forward(Emitter& emitter, Operation& op, Split split) {
  const LayerSpec& spec = *op.spec;
  const bool drawn_apart = !spec.take.empty();
  if (drawn_apart) split = Split::kSamples;
  op.saved = emitter.add_batch_buffer(op.groups, op.width);
  Step draw{Kind::kNoise, split};
  draw.out = drawn_apart ? emitter.add_batch_buffer(1, spec.noises) : op.saved;
  draw.index = op.layer;
  emitter.emit(draw);
  if (drawn_apart) {
    Step spread{Kind::kTake, split, false, draw.out, op.saved};
    spread.index = op.layer;
    emitter.emit(spread);
  }
  Step join{joining(spec.combination), split, false, op.in, op.out, op.saved};
  join.scale = spec.dropped;
  join.offset = spec.kept;
  emitter.emit(join);
  return split;
}

Gradient emit_backward(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient) {
  if (!previous || op.spec->combination == LayerSpec::Combination::kAdd) return gradient;
  emitter.emit({Kind::kMultiply, gradient.split, false, gradient.buffer, gradient.buffer, op.saved});
  return {gradient.buffer, gradient.split};
}

}  // namespace

const Emission kNoiseEmission{emit_forward, emit_backward};

}  // namespace engine
