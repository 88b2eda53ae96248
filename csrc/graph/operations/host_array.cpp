#include "graph/operations/host_array.h"

#include "graph/attributes.h"
#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/custom_gradient.h"

namespace engine::graph {
namespace {

struct HostArrayLayer final : ArrayLayer {
  std::string function, options;
  size_t arguments = 0;
  bool by_row = false;  // whether row i of the output is computed from row i of each argument
  std::shared_ptr<const GradientRule> rule;

  void check() const override {
    require(arguments <= input_shapes.size(), "a function has no more arguments than its layer has inputs");
    if (rule) rule->check(shape, input_shapes);
  }
  bool asks_host(bool) const override { return true; }
  bool keeps_rows(size_t input) const override {
    return input >= arguments || (by_row && !shape.empty() && input_shapes[input][0] == shape[0]);
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    Graph& graph = builder.graph();
    std::vector<Array> x;
    for (size_t i = 0; i < arguments; ++i) {
      const Shape lengths = resolved(inputs[i].shape, graph.batch);
      const bool is_array = graph.value(inputs[i].value).kind == Value::Kind::kArray;
      const ValueId dense =
          is_array ? inputs[i].value : laid_out_as_array(graph, with_strides(graph, inputs[i]), lengths);
      x.push_back({dense, lengths});
    }
    Value result;
    result.kind = Value::Kind::kArray;
    result.shape = resolved(shape, graph.batch);
    const Array y{graph.add_value(result), result.shape};
    auto& host = builder.add<HostArray>();
    host.function = function;
    host.options = options;
    host.x = x;
    host.y = y;
    host.rule = rule;
    host.read = inputs;
    return y;
  }
};

}  // namespace

std::vector<Operand> HostArray::operands() const {
  std::vector<Operand> all{writes(y.value, kWhole, kWhole)};
  for (const Array& each : x) all.push_back(reads(each.value, kWhole, kWhole));
  for (const Array& each : read) all.push_back(reads(each.value, kWhole, kWhole));
  return all;
}

void HostArray::differentiate(Differentiation& gradients) const {
  if (!rule) return gradients.require_no_gradient(*this);
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy != kNoValue) rule->apply(gradients, {dy, y.shape}, y, read);
}

std::shared_ptr<Layer> read_host_array(const Attributes& attributes) {
  auto layer = std::make_shared<HostArrayLayer>();
  layer->read_shapes(attributes);
  layer->function = attributes.text("function");
  layer->options = attributes.text("options");
  layer->arguments = static_cast<size_t>(attributes.integer("arguments"));
  layer->by_row = attributes.flag("by_row");
  if (attributes.has("nodes")) layer->rule = read_rule(attributes);
  return layer;
}

}  // namespace engine::graph
