#include "graph/operations/custom_gradient.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "graph/attributes.h"
#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/arrangement.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

constexpr int kUpstream = -1;   // the gradient by the output
constexpr int kFirstRead = -2;  // the first array of the forward pass

/// Kinds of nodes that need nothing but arrays.
constexpr const char* kKinds[] = {"constants", "random", "map",  "reduce", "cumulative_sum", "reshape",
                                  "transpose", "slice",  "join", "gather", "contraction",    "stop_gradient"};

/// The value that a number of a rule stands for, where those of the nodes are in `computed`.
template <class T>
const T& found_at(int number, const T& upstream, const std::vector<T>& read, const std::vector<T>& computed) {
  if (number == kUpstream) return upstream;
  const std::vector<T>& place = number < 0 ? read : computed;
  const auto index = static_cast<size_t>(number < 0 ? kFirstRead - number : number);
  if (index >= place.size()) refuse("a gradient rule reads something that it doesn't have");
  return place[index];
}

struct CustomGradientLayer final : ArrayLayer {
  std::shared_ptr<GradientRule> rule = std::make_shared<GradientRule>();

  void check() const override {
    require(!input_shapes.empty() && input_shapes[0] == shape, "a rule for a gradient doesn't change the values");
    const std::vector<Shape> read(input_shapes.begin() + 1, input_shapes.end());
    std::vector<Shape> computed;
    for (const GradientRule::Node& node : rule->nodes) {
      LayerInputs inputs;
      for (const int number : node.inputs) {
        inputs.shapes.push_back(found_at(number, shape, read, computed));
        inputs.sizes.push_back(0);
      }
      computed.push_back(node.layer->output_shape(inputs));
    }
    if (rule->by.size() != rule->results.size()) refuse("there must be an array for each gradient");
    for (size_t i = 0; i < rule->by.size(); ++i) {
      const bool known = rule->by[i] >= 0 && static_cast<size_t>(rule->by[i]) < read.size();
      if (!known) refuse("a gradient is by one of the arrays that its rule reads");
      if (!equally_large(found_at(rule->results[i], shape, read, computed), read[static_cast<size_t>(rule->by[i])])) {
        refuse("a gradient has the shape of what it is by");
      }
    }
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    Graph& graph = builder.graph();
    const Array y = add_array(graph, shape);
    Copy& copy = add_copy(graph, with_strides(graph, inputs[0]), y);
    copy.rule = rule;
    copy.read.assign(inputs.begin() + 1, inputs.end());
    return y;
  }
};

}  // namespace

void GradientRule::apply(Differentiation& gradients, const Array& dy, const std::vector<Array>& read) const {
  Builder builder(gradients.graph());
  std::vector<Array> computed;
  for (const Node& node : nodes) {
    std::vector<ValueId> inputs;
    for (const int number : node.inputs) inputs.push_back(found_at(number, dy, read, computed).value);
    const auto& layer = dynamic_cast<const ArrayLayer&>(*node.layer);
    computed.push_back({layer.build(builder, inputs), layer.shape});
  }
  for (size_t i = 0; i < by.size(); ++i) {
    const Array& x = read[static_cast<size_t>(by[i])];
    if (gradients.wants(x.value)) gradients.contribute(x, {found_at(results[i], dy, read, computed).value, x.shape});
  }
}

std::shared_ptr<Layer> read_custom_gradient(const Attributes& attributes) {
  auto layer = std::make_shared<CustomGradientLayer>();
  layer->read_shapes(attributes);
  for (const auto& each : attributes.list("nodes")) {
    GradientRule::Node node;
    const std::string kind = each->text("kind");
    Attributes::place_of(kind, kKinds, static_cast<int>(std::size(kKinds)), "node of a gradient rule");
    node.layer = read_layer(kind, *each);
    for (const int64_t number : each->integers("inputs")) node.inputs.push_back(static_cast<int>(number));
    layer->rule->nodes.push_back(std::move(node));
  }
  for (const int64_t each : attributes.integers("by")) layer->rule->by.push_back(static_cast<int>(each));
  for (const int64_t each : attributes.integers("results")) layer->rule->results.push_back(static_cast<int>(each));
  return layer;
}

}  // namespace engine::graph
