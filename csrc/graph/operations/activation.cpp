#include "graph/operations/activation.h"

#include <algorithm>
#include <iterator>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/activation_code.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

std::string name_of(Activation activation) { return kActivationNames.of[static_cast<size_t>(activation)]; }

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

/// dx = f'(saved) dy: the gradient by dy is the same operation, and that by what was saved has the second derivative.
void ElementwiseActivationGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx);
  if (ddx == kNoValue) return;
  Graph& graph = gradients.graph();
  if (gradients.wants(saved)) {
    const Shape shape = shape_of(graph, saved);
    const MapCode second = derivative(activation_gradient_code(activation, parameters), 0);
    // That of an activation which is made of straight lines is 0.
    const bool is_zero = second.instructions.size() == 1 && second.instructions[0].op == MapOp::kConstant;
    if (!is_zero) {
      gradients.contribute({saved, shape}, add_map(graph, {{saved, shape}, {dy, shape}, {ddx, shape}}, shape, second));
    }
  }
  if (!gradients.wants(dy)) return;
  auto& again = graph.add<ElementwiseActivationGradient>();
  again.dy = ddx;
  again.saved = saved;
  again.dx = graph.add_like(ddx);
  again.activation = activation;
  again.parameters = parameters;
  gradients.contribute(dy, again.dx);
}

/// Of softmax alone: dx = y (dy - sum(y dy)).
void RowActivationGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx);
  if (ddx == kNoValue) return;
  if (activation != Activation::kSoftmax) {
    return refuse("the gradient of " + name_of(activation) + " can't be differentiated once more");
  }
  Graph& graph = gradients.graph();
  const Shape shape = shape_of(graph, y), one{shape[0], {1, 0}};
  const Array probabilities{y, shape}, slopes{dy, shape}, given{ddx, shape};
  if (gradients.wants(y)) {
    // By y: ddx (dy - sum(y dy)) - dy sum(y ddx).
    const auto mean_of = [&](const Array& x) {
      return Array{add_sum(graph, add_map(graph, MapOp::kMultiply, probabilities, x, shape), {1}).value, one};
    };
    const Array mean_slope = mean_of(slopes), mean_given = mean_of(given);
    MapCode code;
    code.inputs = 4;
    const int first = code.add(MapOp::kMultiply, 0, code.add(MapOp::kSubtract, 1, 2));
    code.add(MapOp::kSubtract, first, code.add(MapOp::kMultiply, 1, 3));
    gradients.contribute(probabilities, add_map(graph, {given, slopes, mean_slope, mean_given}, shape, code));
  }
  if (!gradients.wants(dy)) return;
  auto& again = graph.add<RowActivationGradient>();
  again.dy = ddx;
  again.y = y;
  again.dx = graph.add_like(ddx);
  again.activation = activation;
  gradients.contribute(dy, again.dx);
}

Activation read_activation(const Attributes& attributes, ActivationParameters& parameters) {
  const std::string name = attributes.has("activation") ? attributes.text("activation") : "linear";
  const auto activation =
      static_cast<Activation>(Attributes::place_of(name, kActivationNames.of, kActivationNames.kCount, "activation"));
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
