// Models as Python describes them: mappings for layers, and which layer reads which.
#include <pybind11/stl.h>

#include <memory>
#include <utility>
#include <vector>

#include "bindings/convert.h"
#include "bindings/dict_entries.h"
#include "graph/attributes.h"

namespace engine::bindings {
namespace {

/// A shape as Python gives it: (fixed, per_sample) of each axis.
using Pairs = std::vector<std::pair<int64_t, int64_t>>;

graph::Shape to_shape(const Pairs& pairs) {
  graph::Shape shape;
  for (const auto& [fixed, per_sample] : pairs) shape.push_back({fixed, per_sample});
  return shape;
}

/// A mapping of Python as the layers of the graph read it.
class PythonAttributes final : public graph::Attributes {
 public:
  explicit PythonAttributes(py::dict mapping) : mapping_(std::move(mapping)) {}

  using graph::Attributes::flag;
  using graph::Attributes::integer;
  using graph::Attributes::number;

  bool has(const char* key) const override { return static_cast<bool>(find_entry(mapping_, key)); }
  bool flag(const char* key) const override { return get<bool>(mapping_, key); }
  int64_t integer(const char* key) const override { return get<int64_t>(mapping_, key); }
  uint64_t seed(const char* key) const override { return get<uint64_t>(mapping_, key); }
  double number(const char* key) const override { return get<double>(mapping_, key); }
  std::string text(const char* key) const override { return get<std::string>(mapping_, key); }
  std::vector<int64_t> integers(const char* key) const override { return get<std::vector<int64_t>>(mapping_, key); }
  std::vector<float> numbers(const char* key) const override { return get<std::vector<float>>(mapping_, key); }
  std::vector<std::string> texts(const char* key) const override {
    return get<std::vector<std::string>>(mapping_, key);
  }
  graph::Shape shape(const char* key) const override { return to_shape(get<Pairs>(mapping_, key)); }
  std::vector<graph::Shape> shapes(const char* key) const override {
    std::vector<graph::Shape> all;
    for (const Pairs& pairs : get<std::vector<Pairs>>(mapping_, key)) all.push_back(to_shape(pairs));
    return all;
  }
  std::unique_ptr<Attributes> nested(const char* key) const override {
    return std::make_unique<PythonAttributes>(get<py::dict>(mapping_, key));
  }
  std::vector<std::unique_ptr<Attributes>> list(const char* key) const override {
    std::vector<std::unique_ptr<Attributes>> all;
    for (const py::handle each : get<py::sequence>(mapping_, key)) {
      all.push_back(std::make_unique<PythonAttributes>(py::cast<py::dict>(each)));
    }
    return all;
  }
  [[noreturn]] void refuse(const char* message, const char* key) const override { fail_about(message, key, mapping_); }

 private:
  py::dict mapping_;
};

std::vector<int64_t> to_sizes(const py::object& input_size) {
  const auto sizes = py::isinstance<py::sequence>(input_size) ? input_size.cast<std::vector<int64_t>>()
                                                              : std::vector<int64_t>{input_size.cast<int64_t>()};
  for (const int64_t size : sizes) {
    if (size < 1) fail("`input_size` must be at least 1, got " + std::to_string(size));
  }
  if (sizes.empty()) fail("a model needs at least one input");
  return sizes;
}

std::vector<graph::Node> to_nodes(const py::sequence& layers) {
  std::vector<graph::Node> nodes;
  for (const py::handle each : layers) {
    const auto mapping = py::cast<py::dict>(each);
    const int before = static_cast<int>(nodes.size()) - 1;
    graph::Node node;
    node.layer = graph::read_layer(get<std::string>(mapping, "kind"), PythonAttributes(mapping));
    node.inputs = get<std::vector<int>>(mapping, "inputs", {before});
    node.shares = get<int>(mapping, "first", -1);
    nodes.push_back(std::move(node));
  }
  return nodes;
}

/// The nodes of a function, which has no layers that call functions of their own.
std::vector<graph::Node> to_function_nodes(const py::sequence& layers) {
  for (const py::handle each : layers) {
    const py::object host = py::cast<py::dict>(each).attr("get")("host");
    if (!host.is_none()) fail("a traced function has no layer that Python computes");
  }
  return to_nodes(layers);
}

}  // namespace

bool is_traced(const py::dict& mapping) { return get<std::string>(mapping, "kind") == "traced"; }

std::shared_ptr<const graph::TracedFunction> to_traced_function(const py::dict& mapping, int64_t rows, int64_t columns,
                                                                Target target) {
  const int64_t targets = target == Target::kSparse ? rows : rows * columns;
  graph::ModelSpec function;
  function.input_sizes = {get<int64_t>(mapping, "target_size", targets), rows * columns};
  if (function.input_sizes[0] < 1) fail_about("a sample has at least one target:", "target_size", mapping);
  function.nodes = to_function_nodes(get<py::sequence>(mapping, "nodes"));
  const int value = get<int>(mapping, "value");
  return std::make_shared<const graph::TracedFunction>(std::move(function), value, rows);
}

graph::ModelSpec to_function(const py::sequence& layers, const std::vector<int>& results, int64_t batch) {
  graph::ModelSpec function;
  function.nodes = to_function_nodes(layers);
  function.results = results;
  if (batch < 1) fail("`batch` must be at least 1, got " + std::to_string(batch));
  function.batch = batch;
  return function;
}

graph::ModelSpec to_model(const py::object& input_size, const py::sequence& layers, int64_t output_rows,
                          const py::sequence& outputs) {
  graph::ModelSpec model;
  model.input_sizes = to_sizes(input_size);
  model.nodes = to_nodes(layers);
  for (const py::handle each : outputs) {
    const auto [node, rows] = each.cast<std::pair<int, int64_t>>();
    if (node >= static_cast<int>(model.nodes.size())) fail("an output must be the output of a layer of the model");
    model.outputs.push_back({node, rows});
  }
  if (model.outputs.empty()) model.outputs.push_back({static_cast<int>(model.nodes.size()) - 1, output_rows});
  return model;
}

}  // namespace engine::bindings
