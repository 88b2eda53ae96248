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
    require(input_shapes.size() >= 2, "derivatives have a value, and something to differentiate by");
    require(shape.empty(), "what computes several derivatives has no shape");
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Graph& graph = builder.graph();
    const Array y{builder.array_of(inputs[0]), input_shapes[0]};
    const std::vector<ValueId> by(inputs.begin() + 1, inputs.end());
    // Several maps have one gradient together, once nothing reads what is between them.
    graph.kept = builder.read_later();
    graph.kept.push_back(y.value);
    graph.kept.insert(graph.kept.end(), inputs.begin(), inputs.end());
    for (const auto& [place, arrays] : builder.derivatives) {
      for (const Array& array : arrays) graph.kept.push_back(array.value);
    }
    fuse_maps(graph);
    graph.kept.clear();
    MapCode one;
    one.add_constant(1.0f);
    Differentiation derivatives(graph, by);
    const size_t count = graph.operations().size();
    derivatives.contribute(y, add_map(graph, {}, y.shape, one));
    derivatives.run(count);
    std::vector<Array> found;
    for (size_t i = 0; i < by.size(); ++i) found.push_back(derivatives.derivative_by({by[i], input_shapes[i + 1]}));
    const ValueId place = add_array(graph, {}).value;  // stands for all of them
    builder.derivatives[place] = std::move(found);
    return place;
  }
  Array build_array(Builder&, const std::vector<Array>&) const override { return {}; }
  bool joins_samples() const override { return false; }
};

struct GradientLayer final : ArrayLayer {
  size_t index = 0;

  void check() const override { require_inputs(1); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const auto found = builder.derivatives.find(inputs[0]);
    if (found == builder.derivatives.end() || index >= found->second.size()) {
      refuse("a gradient reads derivatives, and is one of them");
    }
    const Array& derivative = found->second[index];
    if (!equally_large(derivative.shape, shape)) refuse("a gradient has the shape of what it is by");
    return derivative.value;
  }
  Array build_array(Builder&, const std::vector<Array>&) const override { return {}; }
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
