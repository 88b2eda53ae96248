#include "graph/operations/activation.h"

#include <algorithm>
#include <iterator>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
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

namespace {

/// The gradient of a smooth activation as the code of a map with the inputs (saved, dy). Returns false for activations
/// that are made of straight lines, whose slope does not change.
bool gradient_code(Activation activation, const ActivationParameters& parameters, MapCode& gradient) {
  MapCode code;
  code.inputs = 1;
  const int z = 0;
  const auto number = [&](double value) { return code.add_constant(static_cast<float>(value)); };
  const auto exponential_linear = [&](float alpha, float scale) {
    const int positive = code.add(MapOp::kLess, number(0.0), z);
    const int safe = code.add(MapOp::kSelect, positive, number(0.0), z);  // whose exponential is finite
    const int curve = code.add(MapOp::kMultiply, number(static_cast<double>(alpha)), code.add(MapOp::kExpm1, safe));
    const int y = code.add(MapOp::kSelect, positive, z, curve);
    code.add(MapOp::kMultiply, number(static_cast<double>(scale)), y);
  };
  switch (activation) {
    // Functions of the output: dy times the slope.
    case Activation::kSigmoid:
    case Activation::kTanh:
    case Activation::kExponential: {
      gradient.inputs = 2;
      const auto one = gradient.add_constant(1.0f);
      int slope = 0;
      if (activation == Activation::kSigmoid) {
        slope = gradient.add(MapOp::kMultiply, 0, gradient.add(MapOp::kSubtract, one, 0));
      } else if (activation == Activation::kTanh) {
        slope = gradient.add(MapOp::kSubtract, one, gradient.add(MapOp::kMultiply, 0, 0));
      }
      gradient.add(MapOp::kMultiply, slope, 1);
      return true;
    }
    case Activation::kSilu:
      code.add(MapOp::kMultiply, z, code.add(MapOp::kSigmoid, z));
      break;
    case Activation::kGelu: {
      const int scaled = code.add(MapOp::kMultiply, z, number(0.70710678118654752));
      const int erf = code.add(MapOp::kErf, scaled, code.add(MapOp::kGaussian, scaled));
      code.add(MapOp::kMultiply, code.add(MapOp::kMultiply, z, number(0.5)), code.add(MapOp::kAdd, erf, number(1.0)));
      break;
    }
    case Activation::kGeluTanh: {
      const int cube = code.add(MapOp::kMultiply, z, code.add(MapOp::kMultiply, z, z));
      const int inner = code.add(MapOp::kAdd, z, code.add(MapOp::kMultiply, cube, number(0.044715)));
      const int gate = code.add(MapOp::kSigmoid, code.add(MapOp::kMultiply, inner, number(1.5957691216057308)));
      code.add(MapOp::kMultiply, z, gate);
      break;
    }
    case Activation::kMish:
      code.add(MapOp::kMultiply, z, code.add(MapOp::kTanh, code.add(MapOp::kSoftplus, z)));
      break;
    case Activation::kSoftplus:
      code.add(MapOp::kSoftplus, z);
      break;
    case Activation::kLogSigmoid:
      code.add(MapOp::kNegate, code.add(MapOp::kSoftplus, code.add(MapOp::kNegate, z)));
      break;
    case Activation::kSoftsign:
      code.add(MapOp::kDivide, z, code.add(MapOp::kAdd, code.add(MapOp::kAbs, z), number(1.0)));
      break;
    case Activation::kTanhShrink:
      code.add(MapOp::kSubtract, z, code.add(MapOp::kTanh, z));
      break;
    case Activation::kElu:
      exponential_linear(parameters[0], 1.0f);
      break;
    case Activation::kSelu:
      exponential_linear(1.6732632f, 1.050701f);
      break;
    case Activation::kCelu: {
      const int alpha = number(static_cast<double>(parameters[0])), zero = number(0.0);
      const int inner = code.add(MapOp::kDivide, code.add(MapOp::kMinimum, z, zero), alpha);
      const int curve = code.add(MapOp::kMultiply, alpha, code.add(MapOp::kExpm1, inner));
      code.add(MapOp::kAdd, code.add(MapOp::kMaximum, z, zero), curve);
      break;
    }
    case Activation::kSquareplus: {
      const int square = code.add(MapOp::kMultiply, z, z);
      const int root =
          code.add(MapOp::kSqrt, code.add(MapOp::kAdd, square, number(static_cast<double>(parameters[0]))));
      code.add(MapOp::kMultiply, code.add(MapOp::kAdd, z, root), number(0.5));
      break;
    }
    case Activation::kHardSilu: {
      const int moved = code.add(MapOp::kAdd, z, number(3.0));
      const int below = code.add(MapOp::kLessEqual, moved, number(0.0));
      const int above = code.add(MapOp::kLessEqual, number(6.0), moved);
      const int limited =
          code.add(MapOp::kSelect, below, number(0.0), code.add(MapOp::kSelect, above, number(6.0), moved));
      code.add(MapOp::kMultiply, z, code.add(MapOp::kDivide, limited, number(6.0)));
      break;
    }
    case Activation::kSparsePlus: {
      const int moved = code.add(MapOp::kAdd, z, number(1.0));
      const int curve = code.add(MapOp::kMultiply, number(0.25), code.add(MapOp::kMultiply, moved, moved));
      const int above = code.add(MapOp::kSelect, code.add(MapOp::kLessEqual, number(1.0), z), z, curve);
      code.add(MapOp::kSelect, code.add(MapOp::kLessEqual, z, number(-1.0)), number(0.0), above);
      break;
    }
    // Made of straight lines: the second derivative is 0.
    case Activation::kLinear:
    case Activation::kRelu:
    case Activation::kRelu6:
    case Activation::kLeakyRelu:
    case Activation::kGeneralRelu:
    case Activation::kHardTanh:
    case Activation::kHardSigmoid:
    case Activation::kSparseSigmoid:
    case Activation::kSoftShrink:
    case Activation::kHardShrink:
    case Activation::kThreshold:
      return false;
    // Of whole rows, with an operation of their own.
    case Activation::kSoftmax:
    case Activation::kLogSoftmax:
    case Activation::kSparsemax:
      return false;
  }
  gradient = derivative(code, 0);
  return true;
}

}  // namespace

/// dx = f'(saved) dy: the gradient by dy is the same operation, and that by what was saved has the second derivative.
void ElementwiseActivationGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx);
  if (ddx == kNoValue) return;
  Graph& graph = gradients.graph();
  MapCode code;
  if (gradients.wants(saved) && gradient_code(activation, parameters, code)) {
    const Shape shape = shape_of(graph, saved);
    gradients.contribute({saved, shape},
                         add_map(graph, {{saved, shape}, {dy, shape}, {ddx, shape}}, shape, derivative(code, 0)));
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
