#include "graph/operations/array_sources.h"

#include <utility>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/arrangement.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {

std::vector<Operand> ReadVariable::operands() const {
  return {writes(y.value, kWhole, kWhole), reads(variable, kWhole, kWhole)};
}

void ReadVariable::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy != kNoValue) gradients.contribute_to_variable(variable, {dy, y.shape});
}

std::vector<Operand> StoreGradient::operands() const {
  return {writes(gradient, kWhole, kWhole), reads(x.value, kWhole, kWhole)};
}

std::vector<Operand> ReadGradient::operands() const {
  return {writes(y.value, kWhole, kWhole), reads(gradient, kWhole, kWhole)};
}

/// Contributes to the gradient by `gradient`, which the operation that computed `gradient` then differentiates.
void ReadGradient::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy != kNoValue) gradients.contribute(gradient, dy);
}

std::vector<Operand> ConstantArray::operands() const { return {writes(y.value, kWhole, kWhole)}; }

std::vector<Operand> ReadTarget::operands() const { return {writes(y.value, kSamples, kWhole)}; }

std::string ReadTarget::attributes() const { return "output=" + std::to_string(output); }

std::vector<Operand> RandomArray::operands() const { return {writes(y.value, rows, kWhole)}; }

Array variable_as_array(Graph& graph, ValueId variable, const Shape& shape, bool trainable) {
  Value array;
  array.kind = Value::Kind::kArray;
  array.shape = shape;
  auto& read = graph.add<ReadVariable>();
  read.variable = variable;
  read.trainable = trainable;
  return read.y = {graph.add_value(array), shape};
}

Array constants_as_array(Graph& graph, const std::shared_ptr<const std::vector<float>>& numbers, const Shape& shape) {
  auto& constants = graph.add<ConstantArray>();
  constants.numbers = numbers;
  return constants.y = add_array(graph, shape);
}

namespace {

/// A variable of a traced function. Matrices are stored as such, so that products can read them; arrays of other shapes
/// and those that are asked to be `flat` are stored as one row.
struct VariableLayer final : ArrayLayer {
  std::vector<int64_t> lengths;
  bool trainable = true, flat = false;
  VariableSpec spec;

  void add_variables(VariableList& variables, int64_t) const override {
    const int64_t numbers = element_count(lengths);
    require_axes(lengths.size());
    if (!lengths.empty() && numbers == 0) refuse("each axis of a variable must have a length of at least 1");
    const bool is_matrix = lengths.size() == 2 && !flat;
    const int64_t rows = is_matrix ? lengths[0] : 1, columns = is_matrix ? lengths[1] : numbers;
    variables.add("variable", rows, columns, lengths, spec, trainable);
  }
  ValueId build(Builder& builder, const std::vector<ValueId>&) const override {
    const ValueId variable = builder.variable(0);
    builder.set_variable(variable, shape, trainable);
    return variable;
  }
  bool learns() const override { return trainable; }
};

/// A weight of another layer of the model, by the number of the variable.
struct WeightLayer final : ArrayLayer {
  int64_t number = 0;
  bool trainable = true;

  ValueId build(Builder& builder, const std::vector<ValueId>&) const override {
    const auto& all = builder.graph().variables().all;
    if (number < 0 || number >= static_cast<int64_t>(all.size())) refuse("there is no such variable");
    const Variable& variable = all[static_cast<size_t>(number)];
    if (graph::element_count(shape, 1) != variable.rows * variable.columns) {
      refuse("a weight of (" + std::to_string(variable.rows) + ", " + std::to_string(variable.columns) +
             ") can't be read as " + text_of(shape));
    };
    const ValueId value = builder.graph().variable(static_cast<int>(number));
    builder.set_variable(value, shape, trainable);
    return value;
  }
};

struct ConstantsLayer final : ArrayLayer {
  std::shared_ptr<const std::vector<float>> numbers;

  void check() const override {
    require_inputs(0);
    require(graph::element_count(shape, 0) == graph::element_count(shape, 1) &&
                graph::element_count(shape, 1) == static_cast<int64_t>(numbers->size()),
            "constants must have a fixed shape, with an element for each number");
  }
  Array build_array(Builder& builder, const std::vector<Array>&) const override {
    return constants_as_array(builder.graph(), numbers, shape);
  }
};

struct RandomLayer final : ArrayLayer {
  RandomArray::Distribution distribution = RandomArray::Distribution::kUniform;
  float low = 0.0f, high = 1.0f;
  uint64_t seed = 0;
  bool fixed = false;

  void check() const override { require_inputs(0); }
  Array build_array(Builder& builder, const std::vector<Array>&) const override {
    Graph& graph = builder.graph();
    const Array y = add_array(graph, shape);
    auto& random = builder.add<RandomArray>();
    random.distribution = distribution;
    random.y = y;
    random.low = low;
    random.high = high;
    random.seed = seed;
    random.fixed = fixed;
    random.rows = row_loop(graph, y);
    return y;
  }
};

/// The first input in training, and the second one otherwise.
struct ChooseLayer final : ArrayLayer {
  void check() const override {
    require_inputs(2);
    require(input_shapes[0] == shape && input_shapes[1] == shape, "both choices must have the shape of the output");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return inputs[builder.drops_out() ? 0 : 1];
  }
};

/// The mask of its input: 1 for each row that is kept, else 0. All ones if there is no mask.
struct ReadMaskLayer final : ArrayLayer {
  void check() const override { require_inputs(1); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Mask* const mask = builder.mask_of(inputs[0]);
    if (!mask) {
      MapCode ones;
      ones.add_constant(1.0f);
      return add_map(builder.graph(), {}, shape, ones).value;
    }
    if (mask->rows != elements_per_sample(shape, builder.batch())) {
      refuse("a mask has " + std::to_string(mask->rows) + " rows for each sample, and can't be read as " +
             text_of(shape));
    }
    return builder.row_mask(mask);
  }
};

/// Its first input, with the mask of the second one.
struct WithMaskLayer final : ArrayLayer {
  void check() const override {
    require_inputs(2);
    require(input_shapes[0] == shape, "a mask doesn't change the shape");
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Mask* const mask = builder.mask_of(inputs[1]);
    if (!mask) refuse("the second input has no mask");
    Graph& graph = builder.graph();
    // A copy, as others may read the first input without the mask.
    const Array y = add_array(graph, shape);
    add_copy(graph, with_strides(graph, {builder.array_of(inputs[0]), shape}), y);
    builder.set_mask(y.value, *mask);
    return y.value;
  }
  size_t masked_input() const override { return 1; }
};

}  // namespace

std::shared_ptr<Layer> read_with_mask(const Attributes& attributes) {
  auto layer = std::make_shared<WithMaskLayer>();
  layer->read_shapes(attributes);
  return layer;
}

std::shared_ptr<Layer> read_variable_layer(const Attributes& attributes) {
  auto layer = std::make_shared<VariableLayer>();
  layer->lengths = attributes.integers("shape");
  for (const int64_t length : layer->lengths) layer->shape.push_back({length, 0});
  layer->trainable = attributes.flag("trainable", true);
  layer->flat = attributes.flag("flat", false);
  layer->spec = attributes.variable("weight");
  return layer;
}

std::shared_ptr<Layer> read_weight(const Attributes& attributes) {
  auto layer = std::make_shared<WeightLayer>();
  layer->read_shapes(attributes);
  layer->number = attributes.integer("variable");
  layer->trainable = attributes.flag("trainable", true);
  return layer;
}

std::shared_ptr<Layer> read_constant_array(const Attributes& attributes) {
  auto layer = std::make_shared<ConstantsLayer>();
  layer->read_shapes(attributes);
  layer->numbers = std::make_shared<const std::vector<float>>(attributes.numbers("numbers"));
  return layer;
}

std::shared_ptr<Layer> read_random_array(const Attributes& attributes) {
  auto layer = std::make_shared<RandomLayer>();
  layer->read_shapes(attributes);
  layer->distribution = attributes.choice<RandomArray::Distribution>("distribution", RandomArray::kNames);
  layer->low = attributes.single("low", 0.0f);
  layer->high = attributes.single("high", 1.0f);
  layer->fixed = attributes.has("fixed_seed");
  layer->seed = attributes.seed(layer->fixed ? "fixed_seed" : "seed");
  return layer;
}

std::shared_ptr<Layer> read_choose(const Attributes& attributes) {
  auto layer = std::make_shared<ChooseLayer>();
  layer->read_shapes(attributes);
  return layer;
}

std::shared_ptr<Layer> read_mask_as_array(const Attributes& attributes) {
  auto layer = std::make_shared<ReadMaskLayer>();
  layer->read_shapes(attributes);
  return layer;
}

}  // namespace engine::graph
