#include "graph/operations/derivative.h"

#include <algorithm>
#include <utility>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/rewrites.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

struct GradientsLayer final : ArrayLayer {
  void check() const override {
    require(input_shapes.size() >= 2, "derivatives must have a value, and inputs to differentiate by");
    require(shape.empty(), "the output of 'gradients' must have the shape ()");
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Graph& graph = builder.graph();
    const Array y{builder.array_of(inputs[0]), input_shapes[0]};
    // Before the derivative, as one gradient of several maps is faster than several gradients.
    fuse_maps(graph, read_later(builder, inputs, y.value));
    const std::vector<ValueId> by(inputs.begin() + 1, inputs.end());
    Differentiation derivatives(graph, by);
    const size_t count = graph.operations().size();
    MapCode one;
    one.add_constant(1.0f);
    derivatives.contribute(y, add_map(graph, {}, y.shape, one));
    derivatives.run(count);
    std::vector<Array> found;
    for (size_t i = 0; i < by.size(); ++i) found.push_back(derivatives.derivative_by({by[i], input_shapes[i + 1]}));
    const ValueId all = add_array(graph, {}).value;  // a value without an operation
    builder.derivatives[all] = std::move(found);
    return all;
  }
  bool joins_samples() const override { return false; }

 private:
  /// The values that operations to come read.
  static std::vector<ValueId> read_later(const Builder& builder, const std::vector<ValueId>& inputs, ValueId y) {
    std::vector<ValueId> values = builder.read_later();
    values.push_back(y);
    values.insert(values.end(), inputs.begin(), inputs.end());
    for (const auto& [all, derivatives] : builder.derivatives) {
      for (const Array& each : derivatives) values.push_back(each.value);
    }
    return values;
  }
};

struct GradientLayer final : ArrayLayer {
  size_t index = 0;

  void check() const override { require_inputs(1); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const auto found = builder.derivatives.find(inputs[0]);
    if (found == builder.derivatives.end() || index >= found->second.size()) {
      refuse("a layer 'gradient' must read a layer 'gradients', with the index of one of its derivatives");
    }
    const Array& derivative = found->second[index];
    if (!equally_large(derivative.shape, shape))
      refuse("a gradient must have the shape of what it is by, " + text_of(derivative.shape) + ", got " +
             text_of(shape));
    return derivative.value;
  }
};

}  // namespace

std::shared_ptr<Layer> read_gradients(const Attributes& attributes) {
  auto layer = std::make_shared<GradientsLayer>();
  layer->read_shapes(attributes);
  return layer;
}

std::shared_ptr<Layer> read_gradient(const Attributes& attributes) {
  auto layer = std::make_shared<GradientLayer>();
  layer->read_shapes(attributes);
  layer->index = static_cast<size_t>(std::max<int64_t>(attributes.integer("index"), 0));
  return layer;
}

}  // namespace engine::graph
