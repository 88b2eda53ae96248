#include "graph/operations/activity_penalty.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/host_layer.h"

namespace engine::graph {

/// The penalty reads x before the layers after it do, so that their contributions are summed up by now.
void ActivityPenalty::differentiate(Differentiation& gradients) const {
  if (!gradients.wants(x)) return;
  const ValueId dy = gradients.gradient_or_zeros(x);
  auto& gradient = gradients.graph().add<ActivityPenaltyGradient>();
  gradient.dy = dy;
  gradient.x = x;
  gradient.dx = gradients.graph().add_like(dy);
  gradient.l1 = l1;
  gradient.l2 = l2;
  gradients.replace(x, gradient.dx);
}

namespace {

/// Passes its input on, and adds a penalty on it to the loss.
struct ActivityRegularizationLayer final : Layer {
  double l1 = 0.0, l2 = 0.0;
  bool host = false;

  int64_t output_size(const LayerInputs& inputs) const override { return inputs.size(); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (builder.predicts()) return inputs[0];
    if (host) {
      const ValueId losses = builder.add_activity_penalty(1);
      auto& penalty = builder.add<HostActivityPenalty>();
      penalty.node = builder.node;
      penalty.x = inputs[0];
      penalty.losses = losses;
    } else {
      const ValueId sums = builder.add_activity_penalty(builder.value(inputs[0]).groups);
      auto& penalty = builder.add<ActivityPenalty>();
      penalty.x = inputs[0];
      penalty.sums = sums;
      penalty.l1 = l1;
      penalty.l2 = l2;
    }
    return inputs[0];
  }
  bool asks_host(bool predicts) const override { return host && !predicts; }
};

}  // namespace

std::shared_ptr<Layer> read_activity_regularization(const Attributes& attributes) {
  auto layer = std::make_shared<ActivityRegularizationLayer>();
  layer->l1 = attributes.nonnegative("l1", 0.0);
  layer->l2 = attributes.nonnegative("l2", 0.0);
  layer->host = attributes.has("host");
  return layer;
}

}  // namespace engine::graph
