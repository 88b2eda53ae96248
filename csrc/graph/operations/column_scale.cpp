#include "graph/operations/column_scale.h"

#include "graph/builder.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {

ValueId add_scaled(Graph& graph, ValueId x, const Array& gain, const Array& shift) {
  MapCode code;
  code.inputs = 3;
  code.add(MapOp::kMultiplyAdd, 0, 1, 2);
  const Array values = as_array(graph, x);
  return add_map(graph, {values, gain, shift}, values.shape, code, x).value;
}

Constants read_column_constants(const Attributes& attributes, const char* key) {
  const auto constants = attributes.has(key) ? attributes.numbers(key) : std::vector<float>{};
  if (constants.empty()) return nullptr;
  return std::make_shared<const std::vector<float>>(constants);
}

void require_row(const Constants& constants, int64_t row) {
  if (constants && static_cast<int64_t>(constants->size()) != row) {
    refuse("a layer with rows of " + std::to_string(row) + " numbers needs as many constants");
  }
}

void ColumnScaleAttributes::add_variables(VariableList& list, int64_t columns) const {
  if (gains) return;
  if (use_gain) list.add("gain", 1, columns, row_shape(columns), gain, trainable);
  if (use_shift) list.add("shift", 1, columns, row_shape(columns), shift, trainable);
}

std::vector<int64_t> ColumnScaleAttributes::row_shape(int64_t columns) const {
  return has_shape ? shape : std::vector<int64_t>{columns};
}

ColumnScaleAttributes read_column_scale(const Attributes& attributes) {
  static constexpr const char* kRules[] = {"scaled", "leaky"};
  ColumnScaleAttributes read;
  read.trainable = attributes.flag("trainable", true);
  read.gain = attributes.variable("kernel");
  read.shift = attributes.variable("bias");
  read.rule = attributes.choice<ColumnRule>("rule", kRules);
  read.use_gain = attributes.flag("use_gain", true);
  read.use_shift = attributes.flag("use_shift", true);
  read.has_shape = attributes.has("shape");
  if (read.has_shape) read.shape = attributes.integers("shape");
  return read;
}

namespace {

/// x where it is positive, slope * x where it is negative or NaN. Where it is 0, the gradient is 0, too, as in Keras.
ValueId add_leaky(Graph& graph, ValueId x, const Array& slope) {
  MapCode code;
  code.inputs = 2;
  const int zero = code.add_constant(0.0f);
  const int negative = code.add(MapOp::kSelect, code.add(MapOp::kLessEqual, zero, 0), zero, 0);
  code.add(MapOp::kSelect, code.add(MapOp::kLess, zero, 0), 0, code.add(MapOp::kMultiply, 1, negative));
  const Array values = as_array(graph, x);
  return add_map(graph, {values, slope}, values.shape, code, x).value;
}

ValueId add_scale(Builder& builder, ValueId x, const Array* gain, const Array* shift) {
  Graph& graph = builder.graph();
  if (gain && shift) return add_scaled(graph, x, *gain, *shift);
  const Array values = as_array(graph, x);
  return add_map(graph, gain ? MapOp::kMultiply : MapOp::kAdd, values, gain ? *gain : *shift, values.shape, x).value;
}

}  // namespace

ValueId add_column_scale(Builder& builder, ValueId x, const ColumnScaleAttributes& attributes) {
  if (!attributes.use_gain && !attributes.use_shift) return x;
  Graph& graph = builder.graph();
  const Shape row{{builder.value(x).columns, 0}};
  if (attributes.gains) {
    return add_scaled(graph, x, constants_as_array(graph, attributes.gains, row),
                      constants_as_array(graph, attributes.shifts, row));
  }
  const auto read = [&](size_t place) {
    return variable_as_array(graph, builder.variable(place), row, attributes.learns());
  };
  const Array gain = attributes.use_gain ? read(0) : Array{};
  if (attributes.rule == ColumnRule::kLeaky) return add_leaky(graph, x, gain);
  const Array shift = attributes.use_shift ? read(attributes.use_gain ? 1 : 0) : Array{};
  return add_scale(builder, x, attributes.use_gain ? &gain : nullptr, attributes.use_shift ? &shift : nullptr);
}

namespace {

struct ColumnScaleLayer final : Layer {
  ColumnScaleAttributes scale;

  int64_t output_size(const LayerInputs& inputs) const override {
    const int64_t row = row_of(inputs.size(), groups);
    require_row(scale.gains, row);
    require_row(scale.shifts, row);
    if (scale.has_shape && element_count(scale.shape) != row) refuse("`shape` doesn't hold a row of the layer");
    return inputs.size();
  }
  void add_variables(VariableList& variables, int64_t size) const override {
    scale.add_variables(variables, size / groups);
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    return add_column_scale(builder, builder.with_rows(inputs[0], groups), scale);
  }
  bool learns() const override { return scale.learns(); }
};

}  // namespace

std::shared_ptr<Layer> read_column_scale_layer(const Attributes& attributes) {
  auto layer = std::make_shared<ColumnScaleLayer>();
  layer->scale = read_column_scale(attributes);
  layer->scale.gains = read_column_constants(attributes, "gain");
  layer->scale.shifts = read_column_constants(attributes, "shift");
  const bool both = !layer->scale.gains == !layer->scale.shifts;
  if (!both || (layer->scale.gains && layer->scale.gains->size() != layer->scale.shifts->size())) {
    refuse("constants come in pairs of equal size");
  }
  return layer;
}

}  // namespace engine::graph
