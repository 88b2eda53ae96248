#include "graph/operations/function.h"

#include <algorithm>

#include "graph/builder.h"
#include "graph/operations/array_sources.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

struct ArgumentLayer final : ArrayLayer {
  int index = 0;

  void check() const override {
    require_inputs(0);
    require(graph::element_count(shape, 0) == graph::element_count(shape, 1), "an argument must have a fixed shape");
  }
  Array build_array(Builder& builder, const std::vector<Array>&) const override {
    const Array y = add_array(builder.graph(), shape);
    auto& read = builder.add<ReadArgument>();
    read.index = index;
    read.y = y;
    return y;
  }
  int argument() const override { return index; }
};

/// Base of the layers that change a variable, input 0, by an array, input 1. Their output is the variable.
struct ChangeLayer : ArrayLayer {
  void check() const override {
    require_inputs(2);
    require(input_shapes[0] == input_shapes[1] && shape == input_shapes[0],
            "a variable and the array that changes it must have equal shapes");
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const final {
    if (!builder.variable_at(inputs[0])) refuse("input 0 of a layer that changes a variable must be one");
    const Array x = with_strides(builder.graph(), {builder.array_of(inputs[1]), input_shapes[1]});
    change(builder, inputs[0], x);
    builder.forget_array_of(inputs[0]);
    return inputs[0];
  }
  bool changes_variables() const final { return true; }

  virtual void change(Builder& builder, ValueId variable, const Array& x) const = 0;
};

struct AssignLayer final : ChangeLayer {
  void change(Builder& builder, ValueId variable, const Array& x) const override {
    auto& assign = builder.add<AssignVariable>();
    assign.variable = variable;
    assign.x = x;
  }
};

/// What a layer does with a weight of its own that it does not learn, such as a moving average: the new values are
/// there after the batch.
struct AssignAfterBatchLayer final : ArrayLayer {
  enum class When { kAlways, kInTraining, kInPredictions };
  static constexpr const char* kWhen[] = {"always", "training", "predictions"};
  When when = When::kAlways;

  void check() const override {
    require_inputs(2);
    require(input_shapes[0] == input_shapes[1] && shape == input_shapes[0], "a weight keeps its shape");
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (!builder.variable_at(inputs[0])) refuse("what is assigned must be a weight");
    if (builder.is_training() && builder.is_trainable(inputs[0])) refuse("a weight that is trained can't be assigned");
    if (when != When::kAlways && builder.drops_out() != (when == When::kInTraining)) return inputs[0];
    AssignVariable assign;
    assign.x = with_strides(builder.graph(), {builder.array_of(inputs[1]), input_shapes[1]});
    assign.variable = inputs[0];
    builder.graph().kept.push_back(assign.x.value);
    builder.add_last(assign);
    return inputs[0];
  }
  bool changes_variables() const override { return when != When::kInTraining; }
  bool joins_samples_in_training() const override { return when != When::kInPredictions; }
};

struct StepLayer final : ChangeLayer {
  void change(Builder& builder, ValueId variable, const Array& x) const override {
    Graph& graph = builder.graph();
    const int v = graph.value(variable).variable;
    if (std::count(graph.learning.begin(), graph.learning.end(), v)) refuse("an optimizer steps each variable once");
    const ValueId gradient = graph.add_gradient(v);
    auto& store = builder.add<StoreGradient>();
    store.x = x;
    store.gradient = gradient;
    graph.learning.push_back(v);
    graph.gradients.push_back(gradient);
  }
};

}  // namespace

std::shared_ptr<Layer> read_argument(const Attributes& attributes) {
  auto layer = std::make_shared<ArgumentLayer>();
  layer->read_shapes(attributes);
  const int64_t index = attributes.integer("index");
  if (index < 0 || index >= int64_t{1} << 20) attributes.refuse("an argument has a number from 0 on:", "index");
  layer->index = static_cast<int>(index);
  return layer;
}

std::shared_ptr<Layer> read_assign(const Attributes& attributes) {
  auto layer = std::make_shared<AssignLayer>();
  layer->read_shapes(attributes);
  return layer;
}

std::shared_ptr<Layer> read_assign_after_batch(const Attributes& attributes) {
  auto layer = std::make_shared<AssignAfterBatchLayer>();
  layer->read_shapes(attributes);
  layer->when = attributes.choice<AssignAfterBatchLayer::When>("when", AssignAfterBatchLayer::kWhen);
  return layer;
}

std::shared_ptr<Layer> read_step(const Attributes& attributes) {
  auto layer = std::make_shared<StepLayer>();
  layer->read_shapes(attributes);
  return layer;
}

}  // namespace engine::graph
