#include "graph/operations/traced_loss.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {

std::vector<Operand> TracedLoss::operands() const {
  return {writes(losses, rows, kWhole), writes(gradient.value, rows, kWhole), reads(values.value, rows, kWhole),
          reads(row_mask, kWhole, kWhole)};
}

void TracedLoss::find_loops(const Graph& graph) {
  const bool same = gradient.value == kNoValue || row_loop(graph, gradient) == kSamples;
  rows = same && row_loop(graph, values) == kSamples ? kSamples : kWhole;
}

std::vector<Operand> TracedPenalty::operands() const {
  return {writes(losses, kWhole, kWhole), reads(value.value, kWhole, kWhole)};
}

void TracedPenalty::differentiate(Differentiation& gradients) const {
  if (!gradients.wants(value.value)) return;
  MapCode one;
  one.add_constant(1.0f);
  gradients.contribute(value, add_map(gradients.graph(), {}, value.shape, one));
}

namespace {

/// Adds its input, a number, to the loss of the batch. The output is the input.
struct AddLossLayer final : ArrayLayer {
  void check() const override {
    require_inputs(1);
    require(is_single(input_shapes[0]) && shape == input_shapes[0],
            "what is added to the loss must be a single number");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    if (builder.predicts()) return inputs[0];
    const ValueId losses = builder.add_activity_penalty(1);
    auto& penalty = builder.add<TracedPenalty>();
    penalty.value = inputs[0];
    penalty.losses = losses;
    return inputs[0];
  }
};

}  // namespace

std::shared_ptr<Layer> read_add_loss(const Attributes& attributes) {
  auto layer = std::make_shared<AddLossLayer>();
  layer->read_shapes(attributes);
  return layer;
}

}  // namespace engine::graph
