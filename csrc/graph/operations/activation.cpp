#include "graph/operations/activation.h"

#include <algorithm>
#include <iterator>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

std::string name_of(Activation activation) { return kActivationNames[static_cast<size_t>(activation)]; }

}  // namespace

std::string ElementwiseActivation::attributes() const { return name_of(activation); }
std::string ElementwiseActivationGradient::attributes() const { return name_of(activation); }
std::string RowActivation::attributes() const { return name_of(activation); }
std::string RowActivationGradient::attributes() const { return name_of(activation); }

void ElementwiseActivation::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<ElementwiseActivationGradient>();
  gradient.dy = dy;
  gradient.saved = saves_input(activation) ? x : y;
  gradient.dx = gradients.graph().add_like(dy);
  gradient.activation = activation;
  gradient.parameters = parameters;
  gradients.contribute(x, gradient.dx);
}

void RowActivation::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<RowActivationGradient>();
  gradient.dy = dy;
  gradient.y = y;
  gradient.dx = gradients.graph().add_like(dy);
  gradient.activation = activation;
  gradients.contribute(x, gradient.dx);
}

Activation read_activation(const Attributes& attributes, ActivationParameters& parameters) {
  const std::string name = attributes.has("activation") ? attributes.text("activation") : "linear";
  const auto activation = static_cast<Activation>(
      Attributes::place_of(name, kActivationNames, static_cast<int>(std::size(kActivationNames)), "activation"));
  const auto given = attributes.has("parameters") ? attributes.numbers("parameters") : std::vector<float>{};
  const int wanted = parameter_count(activation);
  if (given.size() != static_cast<size_t>(wanted)) {
    refuse("activation '" + name + "' has " + std::to_string(wanted) + " parameters, got " +
           std::to_string(given.size()));
  }
  std::copy(given.begin(), given.end(), parameters.begin());
  return activation;
}

ValueId add_activation(Builder& builder, ValueId x, Activation activation, const ActivationParameters& parameters,
                       int64_t groups) {
  if (activation == Activation::kLinear) return x;
  if (is_elementwise(activation)) {
    auto& elementwise = builder.add<ElementwiseActivation>();
    elementwise.x = x;
    elementwise.y = builder.graph().add_like(x);
    elementwise.activation = activation;
    elementwise.parameters = parameters;
    return elementwise.y;
  }
  const ValueId rows = builder.with_rows(x, groups);
  auto& by_row = builder.add<RowActivation>();
  by_row.x = rows;
  by_row.y = builder.graph().add_like(rows);
  by_row.activation = activation;
  return by_row.y;
}

namespace {

struct ActivationLayer final : Layer {
  Activation activation = Activation::kLinear;
  ActivationParameters parameters = {};

  int64_t output_size(const LayerInputs& inputs) const override {
    row_of(inputs.size(), groups);
    return inputs.size();
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    return add_activation(builder, inputs[0], activation, parameters, groups);
  }
};

}  // namespace

std::shared_ptr<Layer> read_activation_layer(const Attributes& attributes) {
  auto layer = std::make_shared<ActivationLayer>();
  layer->activation = read_activation(attributes, layer->parameters);
  return layer;
}

}  // namespace engine::graph
