#include "graph/model.h"

#include <algorithm>
#include <string>
#include <typeinfo>
#include <utility>

#include "graph/sizes.h"

namespace engine {

int Variables::add(Variable variable) {
  weights += variable.rows * variable.columns;
  all.push_back(std::move(variable));
  return static_cast<int>(all.size()) - 1;
}

namespace graph {

void VariableList::add(const char* what, int64_t rows, int64_t columns, std::vector<int64_t> shape,
                       const VariableSpec& spec, bool trainable) {
  if (times(rows, columns) + variables_.weights > kMaxNumbers) {
    refuse(std::string("a ") + what + " of (" + std::to_string(rows) + ", " + std::to_string(columns) +
           ") makes the model larger than 2**40 weights");
  }
  if (!shared_) {
    return added_.push_back(
        variables_.add({rows, columns, std::move(shape), trainable ? spec : VariableSpec{}, trainable}));
  }
  const size_t place = added_.size();
  const int v = place < shared_->size() ? (*shared_)[place] : -1;
  if (v < 0 || variables_[v].rows != rows || variables_[v].shape != shape) {
    refuse("'first' must be a layer with variables of the same shapes");
  }
  added_.push_back(v);
}

std::vector<int> VariableList::take() { return std::move(added_); }

namespace {

VariableSpec without_penalties(const VariableSpec& spec) {
  VariableSpec plain;
  plain.constraint = spec.constraint;
  return plain;
}

}  // namespace

Model::Model(ModelSpec spec) : spec_(std::move(spec)) {
  for (const int64_t size : spec_.input_sizes) input_size_ += require_size(size);
  require_size(input_size_);
  if (spec_.batch < 0) refuse("a batch has at least one sample");
  std::vector<bool> learning(spec_.nodes.size());
  for (size_t i = 0; i < spec_.nodes.size(); ++i) {
    const Node& node = spec_.nodes[i];
    const auto first = static_cast<size_t>(node.shares);
    if (node.shares >= 0) {
      const Layer& own = *node.layer;
      const Layer& other = *spec_.nodes[first < i ? first : i].layer;
      if (first >= i || typeid(own) != typeid(other)) refuse("'first' must be an earlier layer of the same kind");
    }
    const LayerInputs inputs = inputs_of(node, i, learning);
    shapes_.push_back(resolved(node.layer->output_shape(inputs), spec_.batch));
    const bool has_samples = has_sample_axis(shapes_.back(), spec_.batch);
    sizes_.push_back(has_samples ? require_size(elements_per_sample(shapes_.back(), spec_.batch)) : 0);
    VariableList variables(variables_, node.shares >= 0 ? &node_variables_[first] : nullptr);
    node.layer->add_variables(variables, inputs.size());
    node_variables_.push_back(variables.take());
    learning[i] = inputs.after_learning || node.layer->learns();
  }
  find_arguments();
  if (is_function()) {
    // Penalties belong to the loss of a model. What a function steps variables by has them already, if it wants them.
    for (Variable& variable : variables_.all) variable.spec = without_penalties(variable.spec);
  }
  for (const int node : spec_.results) {
    if (node < 0) refuse("a result is the output of a node");
    shape_of(node);
  }
  for (const ModelSpec::Output& output : spec_.outputs) {
    if (!has_sample_axis(shape_of(output.node), spec_.batch))
      refuse("an output of a model needs numbers for each sample");
    row_of(size_of(output.node), output.groups, "an output");
  }
}

LayerInputs Model::inputs_of(const Node& node, size_t number, const std::vector<bool>& learning) const {
  LayerInputs inputs;
  for (const int input : node.inputs) {
    const bool known = input < 0 ? static_cast<size_t>(Node::kInput - input) < spec_.input_sizes.size()
                                 : static_cast<size_t>(input) < number;
    if (!known) refuse("a layer can only read inputs of the model and layers before it");
    inputs.sizes.push_back(size_of(input));
    inputs.shapes.push_back(shape_of(input));
    inputs.after_learning = inputs.after_learning || (input >= 0 && learning[static_cast<size_t>(input)]);
    if (node.layer->reads_arrays()) continue;
    const bool has_samples = has_sample_axis(inputs.shapes.back(), spec_.batch) && !is_variable(input);
    if (!has_samples) refuse("a layer needs an input with numbers for each sample");
  }
  if (inputs.sizes.empty() && !node.layer->reads_arrays()) refuse("a layer needs at least one input");
  return inputs;
}

void Model::find_arguments() {
  for (size_t i = 0; i < spec_.nodes.size(); ++i) {
    const int argument = spec_.nodes[i].layer->argument();
    if (argument < 0) continue;
    if (argument != static_cast<int>(arguments_.size())) refuse("arguments must come in their order");
    arguments_.push_back(shapes_[i]);
  }
  if (!is_function() && !arguments_.empty()) refuse("a model with inputs has no arguments");
}

bool Model::is_of_arrays() const {
  return is_function() && variables_.all.empty() &&
         std::all_of(spec_.nodes.begin(), spec_.nodes.end(),
                     [](const Node& node) { return node.layer->reads_arrays(); });
}

bool Model::changes_variables() const {
  return std::any_of(spec_.nodes.begin(), spec_.nodes.end(),
                     [](const Node& node) { return node.layer->changes_variables(); });
}

bool Model::is_variable(int node) const {
  return node >= 0 && spec_.nodes[static_cast<size_t>(node)].inputs.empty() &&
         !node_variables_[static_cast<size_t>(node)].empty();
}

Shape Model::shape_of(int node) const {
  if (node >= static_cast<int>(shapes_.size()) || Node::kInput - node >= static_cast<int>(spec_.input_sizes.size())) {
    refuse("there is no such node");
  }
  if (node >= 0) return shapes_[static_cast<size_t>(node)];
  return resolved({{0, 1}, {spec_.input_sizes[static_cast<size_t>(Node::kInput - node)], 0}}, spec_.batch);
}

int64_t Model::size_of(int node) const {
  return node < 0 ? spec_.input_sizes[static_cast<size_t>(Node::kInput - node)] : sizes_[static_cast<size_t>(node)];
}

int64_t Model::output_size() const {
  int64_t size = 0;
  for (size_t i = 0; i < spec_.outputs.size(); ++i) size += output_size(i);
  return size;
}

int64_t Model::masked_rows_of(int node) const {
  while (node >= 0) {
    const Node& at = spec_.nodes[static_cast<size_t>(node)];
    const size_t masked = at.layer->masked_input();
    if (masked > 0) {
      node = at.inputs[masked];
      continue;
    }
    if (at.inputs.empty() || at.layer->reads_arrays()) return 0;
    const int64_t rows = at.layer->mask_rows(size_of(at.inputs.front()));
    if (rows != 0) return rows;
    node = at.inputs.front();
  }
  return 0;
}

int64_t Model::masked_rows(size_t output) const { return masked_rows_of(spec_.outputs[output].node); }

int64_t Model::tokens() const {
  for (const Node& node : spec_.nodes) {
    if (!node.layer->only_moves()) return node.layer->tokens();
  }
  return 0;
}

bool Model::asks_host(bool predicts) const {
  return std::any_of(spec_.nodes.begin(), spec_.nodes.end(),
                     [&](const Node& node) { return node.layer->asks_host(predicts); });
}

bool Model::joins_samples_in_training() const {
  return std::any_of(spec_.nodes.begin(), spec_.nodes.end(),
                     [](const Node& node) { return node.layer->joins_samples_in_training(); });
}

bool Model::joins_samples() const {
  const std::vector<bool> feeds = nodes_before_outputs();
  for (size_t i = 0; i < spec_.nodes.size(); ++i) {
    if (feeds[i] && spec_.nodes[i].layer->joins_samples()) return true;
  }
  return false;
}

std::vector<bool> Model::nodes_before_outputs() const {
  std::vector<bool> feeds(spec_.nodes.size(), spec_.outputs.empty());
  for (const ModelSpec::Output& output : spec_.outputs) {
    if (output.node >= 0) feeds[static_cast<size_t>(output.node)] = true;
  }
  for (size_t i = spec_.nodes.size(); i-- > 0;) {
    if (!feeds[i]) continue;
    for (const int input : spec_.nodes[i].inputs) {
      if (input >= 0) feeds[static_cast<size_t>(input)] = true;
    }
  }
  return feeds;
}

double Model::multiply_adds() const {
  double total = 0.0;
  for (const Node& node : spec_.nodes) {
    total += node.layer->multiply_adds(node.inputs.empty() ? 0 : size_of(node.inputs.front()));
  }
  return total;
}

TracedFunction::TracedFunction(ModelSpec spec, int value, int64_t rows) : model(std::move(spec)), value(value) {
  if (!model.variables().all.empty()) refuse("a loss or metric has no weights");
  shape = model.shape_of(value);
  const bool by_row = has_sample_axis(shape, 0) && elements_per_sample(shape, 0) == rows;
  if (!by_row && !is_single(shape)) {
    refuse("a loss or metric must be a single number, or have " + std::to_string(rows) +
           " numbers for each sample; its shape is " + text_of(shape));
  }
}

}  // namespace graph
}  // namespace engine
