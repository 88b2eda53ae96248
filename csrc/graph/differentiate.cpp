#include "graph/differentiate.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "graph/operations/arrangement.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/map.h"
#include "graph/operations/optimizer.h"

namespace engine::graph {

Differentiation::Differentiation(Graph& graph)
    : graph_(graph),
      wanted_(static_cast<size_t>(graph.value_count())),
      contributions_(static_cast<size_t>(graph.value_count())) {
  find_wanted();
}

Differentiation::Differentiation(Graph& graph, const std::vector<ValueId>& by)
    : graph_(graph),
      within_model_(true),
      wanted_(static_cast<size_t>(graph.value_count())),
      contributions_(static_cast<size_t>(graph.value_count())) {
  for (const ValueId x : by) wanted_[static_cast<size_t>(x)] = true;
  find_wanted();
}

void Differentiation::find_wanted() {
  for (const auto& operation : graph_.operations()) {
    const auto operands = operation->operands();
    const bool learns = !within_model_ && operation->learns();
    const bool depends = learns || std::any_of(operands.begin(), operands.end(), [&](const Operand& each) {
                           return each.use == Use::kRead && wants(each.value);
                         });
    if (!depends) continue;
    for (const Operand& each : operands) {
      if (each.value != kNoValue && each.use == Use::kWrite) wanted_[static_cast<size_t>(each.value)] = true;
    }
  }
}

Shape Differentiation::shape_of_variable_or_array(ValueId id) const {
  const Value& value = graph_.value(id);
  if (value.kind == Value::Kind::kBatch || value.kind == Value::Kind::kArray) return shape_of(graph_, id);
  Shape shape;
  for (const int64_t length : graph_.variables()[value.variable].shape) shape.push_back({length, 0});
  return shape;
}

ValueId Differentiation::gradient_of(ValueId y) {
  std::vector<ValueId>& parts = contributions_[static_cast<size_t>(y)];
  if (parts.size() > 1) {
    const Shape shape = shape_of_variable_or_array(y);
    std::vector<Array> arrays;
    for (const ValueId part : parts) arrays.push_back({part, shape});
    parts.assign(1, add_terms(graph_, with_parts_joined(graph_, arrays)).value);
  }
  return parts.empty() ? kNoValue : parts.front();
}

ValueId Differentiation::gradient_or_zeros(ValueId y) {
  const ValueId gradient = gradient_of(y);
  if (gradient != kNoValue) return gradient;
  return zeros(shape_of_variable_or_array(y), y).value;
}

void Differentiation::contribute(ValueId x, ValueId dx) {
  if (!wants(x)) return;
  const Value::Kind of_x = graph_.value(x).kind, of_dx = graph_.value(dx).kind;
  if ((of_x == Value::Kind::kBatch && of_dx == Value::Kind::kArray) ||
      (of_x == Value::Kind::kArray && of_dx == Value::Kind::kBatch)) {
    throw std::logic_error("a gradient has another layout in memory than the value that it belongs to");
  }
  contributions_[static_cast<size_t>(x)].push_back(dx);
}

void Differentiation::contribute(const Array& x, const Array& dx) {
  if (!wants(x.value)) return;
  contribute(x.value, laid_out_like(graph_, dx, x.value));
}

void Differentiation::contribute_to_variable(ValueId variable, const Array& dx) {
  if (within_model_) {
    by_variables_[variable].push_back(dx);
    return;
  }
  const Array x = with_strides(graph_, dx);
  const ValueId gradient = new_gradient(variable);
  auto& store = graph_.add<StoreGradient>();
  store.x = x;
  store.gradient = gradient;
}

ValueId Differentiation::new_gradient(ValueId variable) {
  if (variable == kNoValue) return kNoValue;
  const int v = graph_.value(variable).variable;
  const ValueId gradient = graph_.add_gradient(v);
  if (within_model_) {
    unread_gradients_.push_back({variable, gradient});
    return gradient;
  }
  if (!gradients_.emplace(v, gradient).second) further_gradients_.push_back(gradient);
  return gradient;
}

void Differentiation::run(size_t count) {
  graph_.differentiates = true;
  for (size_t i = count; i-- > 0;) {
    const Operation& operation = *graph_.operations()[i];
    const auto operands = operation.operands();
    const bool reached = std::any_of(operands.begin(), operands.end(),
                                     [&](const Operand& each) { return each.use == Use::kWrite && wants(each.value); });
    if (!reached) continue;
    operation.differentiate(*this);
    collect_new_gradients();
  }
  if (!within_model_) add_missing_gradients();
  for (const auto& [v, gradient] : gradients_) {
    graph_.learning.push_back(v);
    graph_.gradients.push_back(gradient);
  }
}

void Differentiation::add_missing_gradients() {
  const auto count = static_cast<int>(graph_.variables().all.size());
  for (int v = 0; v < count; ++v) {
    if (!graph_.variables()[v].trainable || gradients_.count(v) > 0) continue;
    const ValueId variable = graph_.variable(v);
    contribute_to_variable(variable, zeros(shape_of_variable_or_array(variable)));
  }
}

void Differentiation::collect_new_gradients() {
  for (const ValueId gradient : further_gradients_) {
    auto& add = graph_.add<AddGradient>();
    add.gradient = gradient;
    add.sum = gradients_.at(graph_.value(gradient).variable);
  }
  further_gradients_.clear();
  for (const auto& [variable, gradient] : unread_gradients_) {
    const Array y = add_array(graph_, shape_of_variable_or_array(variable));
    auto& read = graph_.add<ReadGradient>();
    read.gradient = gradient;
    read.y = y;
    by_variables_[variable].push_back(y);
  }
  unread_gradients_.clear();
}

namespace {

/// Operations without a gradient rule, in the words of those who write models.
constexpr std::pair<const char*, const char*> kWithoutRule[] = {
    {"augment_images", "image augmentation"},
    {"host_array", "a basis completed by svd(full_matrices=True) or qr(mode='complete')"},
    {"host_activity_penalty_gradient", "the gradient of a penalty on outputs"},
    {"host_layer_gradient", "a gradient that is written by hand"},
    {"product_gradient", "the second derivative of ops.prod"},
    {"normalize_rows_gradient", "the gradient of LayerNormalization and its like"},
    {"standardize_columns_gradient", "the gradient of BatchNormalization"},
};

}  // namespace

void Operation::differentiate(Differentiation& gradients) const { gradients.require_no_gradient(*this); }

void Differentiation::require_no_gradient(const Operation& operation) const {
  bool arrives = false, goes_on = false;
  for (const Operand& each : operation.operands()) {
    if (each.use == Use::kRead) goes_on = goes_on || wants(each.value);
    const bool known = each.use == Use::kWrite && wants(each.value);
    arrives = arrives || (known && !contributions_[static_cast<size_t>(each.value)].empty());
  }
  if (!arrives || !goes_on) return;
  std::string what = std::string("the operation ") + operation.name();
  for (const auto& [name, words] : kWithoutRule) {
    if (operation.name() == std::string(name)) what = words;
  }
  throw std::invalid_argument(
      what +
      " has no derivative here, but a loss depends on it in a differentiable way: pass it through "
      "ops.stop_gradient(), or leave such layers out of what is differentiated" +
      (within_model_ ? " within the loss" : "") + ", or write them with keras.ops");
}

Array Differentiation::derivative_by(const Array& x) {
  const auto found = by_variables_.find(x.value);
  if (found != by_variables_.end()) {
    std::vector<Array> parts;
    for (const Array& part : found->second) parts.push_back({part.value, x.shape});
    return add_terms(graph_, parts);
  }
  const bool is_variable = graph_.value(x.value).kind == Value::Kind::kVariable;
  const ValueId gradient = is_variable ? kNoValue : gradient_of(x.value);
  if (gradient != kNoValue) return {gradient, x.shape};
  return zeros(x.shape);
}

Array Differentiation::zeros(const Shape& shape, ValueId like) {
  MapCode zero;
  zero.add_constant(0.0f);
  return add_map(graph_, {}, shape, zero, like);
}

}  // namespace engine::graph
