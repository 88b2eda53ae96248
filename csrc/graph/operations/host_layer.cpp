#include "graph/operations/host_layer.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/arrangement.h"
#include "graph/sizes.h"

namespace engine::graph {

std::vector<Operand> HostLayer::operands() const {
  return {writes(y, kSamples, kWhole), writes(kept, kSamples, kWhole), writes(losses, kSamples, kWhole),
          reads(x, kSamples, kWhole), reads(row_mask, kSamples, kWhole)};
}

void HostLayer::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || (!gradients.wants(x) && weights.empty())) return;
  Graph& graph = gradients.graph();
  auto& gradient = graph.add<HostLayerGradient>();
  gradient.node = node;
  gradient.dy = dy;
  gradient.x = x;
  gradient.row_mask = row_mask;
  for (const int v : weights) gradient.dweights.push_back(gradients.new_gradient(graph.variable(v)));
  if (!gradients.wants(x)) return;
  gradient.dx = graph.add_like(x);
  gradients.contribute(x, gradient.dx);
}

std::vector<Operand> HostLayerGradient::operands() const {
  std::vector<Operand> all{writes(dx, kSamples, kWhole), reads(dy, kSamples, kWhole), reads(x, kSamples, kWhole),
                           reads(row_mask, kSamples, kWhole)};
  for (const ValueId gradient : dweights) all.push_back(writes(gradient, kWhole, kWhole));
  return all;
}

void HostActivityPenalty::differentiate(Differentiation& gradients) const {
  if (!gradients.wants(x)) return;
  const ValueId dy = gradients.gradient_or_zeros(x);
  Graph& graph = gradients.graph();
  const ValueId dx = graph.add_like(dy);
  add_copy(graph, as_array(graph, dy), as_array(graph, dx));  // others may read dy, too
  auto& gradient = graph.add<HostActivityPenaltyGradient>();
  gradient.node = node;
  gradient.dx = dx;
  gradient.x = x;
  gradients.replace(x, dx);
}

namespace {

struct CustomLayer final : Layer {
  struct Weight {
    std::vector<int64_t> shape;
    bool trainable;
    VariableSpec spec;
  };
  int64_t units = 0;
  bool masked = false;      // whether the caller wants the mask of the input
  int64_t output_rows = 0;  // rows of each output of which the caller says whether later layers keep them; 0: none
  bool trainable = true;
  std::vector<Weight> weights;

  int64_t output_size(const LayerInputs& inputs) const override {
    row_of(inputs.size(), groups);
    require_size(times(groups, units));
    if (output_rows != 0) row_of(units, output_rows, "an output");
    return units;
  }
  void add_variables(VariableList& variables, int64_t) const override {
    for (const Weight& weight : weights) {
      const int64_t numbers = element_count(weight.shape);
      if (numbers == 0) refuse("a variable has an odd shape");
      variables.add("variable", 1, numbers, weight.shape, weight.spec, trainable && weight.trainable);
    }
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Graph& graph = builder.graph();
    Mask* const mask = masked ? builder.mask_of(inputs[0]) : nullptr;
    const ValueId x = builder.with_rows(inputs[0], 1);
    const ValueId losses = builder.add_activity_penalty(1), row_mask = builder.row_mask(mask);
    auto& layer = builder.add<HostLayer>();
    layer.node = builder.node;
    layer.x = x;
    layer.y = graph.add_batch(1, units);
    layer.losses = losses;
    layer.row_mask = row_mask;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (trainable && weights[i].trainable) layer.weights.push_back((*builder.variables)[i]);
    }
    if (output_rows != 0) {
      layer.kept = graph.add_batch(1, output_rows);
      Mask own{layer.kept, 0.0f, output_rows};
      own.row_mask = layer.kept;
      builder.set_mask(layer.y, own);
    }
    return layer.y;
  }
  bool learns() const override {
    for (const Weight& weight : weights) {
      if (trainable && weight.trainable) return true;
    }
    return false;
  }
  bool asks_host(bool) const override { return true; }
  int64_t mask_rows(int64_t) const override { return output_rows; }
};

/// Passes its input on, and adds a penalty on it to the loss, which the caller computes.
struct ActivityRegularizationLayer final : Layer {
  int64_t output_size(const LayerInputs& inputs) const override { return inputs.size(); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (builder.predicts()) return inputs[0];
    const ValueId losses = builder.add_activity_penalty(1);
    auto& penalty = builder.add<HostActivityPenalty>();
    penalty.node = builder.node;
    penalty.x = inputs[0];
    penalty.losses = losses;
    return inputs[0];
  }
  bool asks_host(bool predicts) const override { return !predicts; }
};

}  // namespace

std::shared_ptr<Layer> read_activity_regularization(const Attributes&) {
  return std::make_shared<ActivityRegularizationLayer>();
}

std::shared_ptr<Layer> read_custom(const Attributes& attributes) {
  auto layer = std::make_shared<CustomLayer>();
  layer->units = attributes.count("units");
  layer->masked = attributes.flag("masked", false);
  layer->output_rows = attributes.integer("mask_rows", 0);
  layer->trainable = attributes.flag("trainable", true);
  for (const auto& weight : attributes.list("variables")) {
    layer->weights.push_back({weight->integers("shape"), weight->flag("trainable"), weight->variable("weight")});
  }
  return layer;
}

}  // namespace engine::graph
