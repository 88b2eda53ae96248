// Images changed at random, in training.
#include "plan/emitter.h"

namespace engine {
namespace {

Split emit_forward(Emitter& emitter, Operation& op, Split) {
  const LayerSpec& spec = *op.spec;
  Step step{Step::Kind::kWarp, Split::kSamples, false, op.in, op.out};
  step.index = op.layer;
  const Warp& warp = spec.warp;
  step.statistics = add_buffer(emitter.plan, 1, warp_scratch(warp.height, warp.width, warp.channels, warp.radius >= 0));
  give_copies(emitter.plan, step.statistics);
  emitter.emit(step);
  emitter.images = op.out;
  return step.split;
}

/// There is none: nothing before learns.
Gradient emit_backward(Emitter&, const Operation&, const Operation*, Gradient gradient) { return gradient; }

}  // namespace

const Emission kWarpEmission{emit_forward, emit_backward};

}  // namespace engine
