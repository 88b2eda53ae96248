#include "graph/operations/column_scale.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
#include "graph/sizes.h"

namespace engine::graph {

namespace {

/// `values` where x is negative, else 0
Array negative_part(Graph& graph, ValueId x, const Array& values) {
  const Shape& shape = values.shape;
  MapCode code;
  code.inputs = 2;
  const int zero = code.add_constant(0.0f);
  code.add(MapOp::kSelect, code.add(MapOp::kLess, 0, zero), 1, zero);
  return add_map(graph, {{x, shape}, values}, shape, code);
}

}  // namespace

/// The gradient by the weights comes first: the one by the input may take the place of dy.
void ColumnScale::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue) return;
  Graph& graph = gradients.graph();
  if (trainable) {
    auto& by_weights = graph.add<ColumnScaleWeightGradient>();
    by_weights.dy = dy;
    by_weights.x = x;
    by_weights.dgain = gradients.new_gradient(gain);
    by_weights.dshift = gradients.new_gradient(shift);
    by_weights.rule = rule;
  }
  if (!gradients.wants(x)) return;
  const bool has_gain = gain != kNoValue || corrections != kNoValue;
  if (!has_gain) return gradients.contribute(x, dy);
  auto& by_input = graph.add<ColumnScaleInputGradient>();
  by_input.dy = dy;
  by_input.x = x;
  by_input.gain = gain;
  by_input.corrections = corrections;
  by_input.rule = rule;
  by_input.trainable = trainable;
  by_input.dx = graph.add_like(dy);
  gradients.contribute(x, by_input.dx);
}

/// It is linear in dy, and in the gain.
void ColumnScaleInputGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx);
  if (ddx == kNoValue) return;
  Graph& graph = gradients.graph();
  if (trainable && gain != kNoValue) {
    if (rule == ColumnRule::kLeaky) {
      // dx has the gain where x is negative.
      const Shape shape = shape_of(graph, x);
      const Array part = negative_part(graph, x, add_map(graph, MapOp::kMultiply, {dy, shape}, {ddx, shape}, shape));
      gradients.contribute_to_variable(gain, add_sum(graph, part, {0}));
    } else {
      auto& by_gain = graph.add<ColumnScaleWeightGradient>();
      by_gain.dy = ddx;
      by_gain.x = dy;
      by_gain.dgain = gradients.new_gradient(gain);
      by_gain.rule = rule;
    }
  }
  if (!gradients.wants(dy)) return;
  auto& by_input = graph.add<ColumnScaleInputGradient>(*this);
  by_input.dy = ddx;
  by_input.dx = graph.add_like(ddx);
  gradients.contribute(dy, by_input.dx);
}

/// It is linear in dy and in x, or for the leaky rule in their products where x is negative.
void ColumnScaleWeightGradient::differentiate(Differentiation& gradients) const {
  const ValueId by_gain = dgain == kNoValue ? kNoValue : gradients.gradient_of(dgain);
  const ValueId by_shift = dshift == kNoValue ? kNoValue : gradients.gradient_of(dshift);
  Graph& graph = gradients.graph();
  const Shape shape = shape_of(graph, x), columns{shape[1]};
  const auto contribute = [&](ValueId to, ValueId factor) {
    if (!gradients.wants(to)) return;
    const Array part = add_map(graph, MapOp::kMultiply, {factor, shape}, {by_gain, columns}, shape);
    gradients.contribute({to, shape}, rule == ColumnRule::kLeaky ? negative_part(graph, x, part) : part);
  };
  if (by_gain != kNoValue) {
    contribute(dy, x);
    contribute(x, dy);
  }
  if (by_shift != kNoValue && gradients.wants(dy)) {
    MapCode copy;
    copy.inputs = 1;
    copy.add(MapOp::kMultiply, 0, copy.add_constant(1.0f));
    gradients.contribute({dy, shape}, add_map(graph, {{by_shift, columns}}, shape, copy));
  }
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

ValueId add_column_scale(Builder& builder, ValueId x, const ColumnScaleAttributes& attributes) {
  if (!attributes.use_gain && !attributes.use_shift) return x;
  auto& scale = builder.add<ColumnScale>();
  scale.x = x;
  scale.y = builder.graph().add_like(x);
  if (attributes.gains) {
    scale.gain = builder.graph().add_constant(attributes.gains);
    scale.shift = builder.graph().add_constant(attributes.shifts);
  } else {
    if (attributes.use_gain) scale.gain = builder.variable(0);
    if (attributes.use_shift) scale.shift = builder.variable(attributes.use_gain ? 1 : 0);
  }
  scale.rule = attributes.rule;
  scale.trainable = attributes.learns();
  return scale.y;
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
