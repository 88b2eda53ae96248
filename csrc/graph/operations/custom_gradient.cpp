#include "graph/operations/custom_gradient.h"

#include <algorithm>
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
constexpr int kOutput = -2;     // the output itself
constexpr int kFirstRead = -3;  // the first array of the forward pass

/// What the numbers of a rule below 0 stand for.
template <class T>
struct Given {
  const T &upstream, &output;
  const std::vector<T>& read;

  /// The value that a number stands for, where those of the nodes are in `computed`.
  const T& at(int number, const std::vector<T>& computed) const {
    if (number == kUpstream) return upstream;
    if (number == kOutput) return output;
    const std::vector<T>& place = number < 0 ? read : computed;
    const auto index = static_cast<size_t>(number < 0 ? kFirstRead - number : number);
    if (index >= place.size()) refuse("a gradient rule reads something that it doesn't have");
    return place[index];
  }
};

struct CustomGradientLayer final : ArrayLayer {
  std::shared_ptr<const GradientRule> rule;

  void check() const override {
    require(!input_shapes.empty() && input_shapes[0] == shape, "a rule for a gradient doesn't change the values");
    rule->check(shape, {input_shapes.begin() + 1, input_shapes.end()});
  }
  bool asks_host(bool) const override { return rule->asks_host(); }
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

void GradientRule::check(const Shape& y, const std::vector<Shape>& read) const {
  const Given<Shape> given{y, y, read};
  std::vector<Shape> computed;
  for (const Node& node : nodes) {
    LayerInputs inputs;
    for (const int number : node.inputs) {
      inputs.shapes.push_back(given.at(number, computed));
      inputs.sizes.push_back(0);
    }
    computed.push_back(node.layer->output_shape(inputs));
  }
  if (by.size() != results.size()) refuse("there must be an array for each gradient");
  for (size_t i = 0; i < by.size(); ++i) {
    const bool known = by[i] >= 0 && static_cast<size_t>(by[i]) < read.size();
    if (!known) refuse("a gradient is by one of the arrays that its rule reads");
    if (!equally_large(given.at(results[i], computed), read[static_cast<size_t>(by[i])])) {
      refuse("a gradient has the shape of what it is by");
    }
  }
}

void GradientRule::apply(Differentiation& gradients, const Array& dy, const Array& y,
                         const std::vector<Array>& read) const {
  Builder builder(gradients.graph());
  const Given<Array> given{dy, y, read};
  std::vector<Array> computed;
  for (const Node& node : nodes) {
    std::vector<ValueId> inputs;
    for (const int number : node.inputs) inputs.push_back(given.at(number, computed).value);
    const auto& layer = dynamic_cast<const ArrayLayer&>(*node.layer);
    computed.push_back({layer.build(builder, inputs), layer.shape});
  }
  for (size_t i = 0; i < by.size(); ++i) {
    const Array& x = read[static_cast<size_t>(by[i])];
    if (gradients.wants(x.value)) gradients.contribute(x, {given.at(results[i], computed).value, x.shape});
  }
}

bool GradientRule::asks_host() const {
  return std::any_of(nodes.begin(), nodes.end(), [](const Node& node) { return node.layer->asks_host(false); });
}

std::shared_ptr<const GradientRule> read_rule(const Attributes& attributes) {
  auto rule = std::make_shared<GradientRule>();
  for (const auto& each : attributes.list("nodes")) {
    GradientRule::Node node;
    const std::string kind = each->text("kind");
    if (!is_of_arrays(kind)) refuse("a rule for gradients is computed from arrays, got a node of kind " + kind);
    node.layer = read_layer(kind, *each);
    for (const int64_t number : each->integers("inputs")) node.inputs.push_back(static_cast<int>(number));
    rule->nodes.push_back(std::move(node));
  }
  for (const int64_t each : attributes.integers("by")) rule->by.push_back(static_cast<int>(each));
  for (const int64_t each : attributes.integers("results")) rule->results.push_back(static_cast<int>(each));
  return rule;
}

std::shared_ptr<Layer> read_custom_gradient(const Attributes& attributes) {
  auto layer = std::make_shared<CustomGradientLayer>();
  layer->read_shapes(attributes);
  layer->rule = read_rule(attributes);
  return layer;
}

}  // namespace engine::graph
