#include "graph/graph.h"

#include <algorithm>
#include <utility>

namespace engine::graph {
Graph::Graph(Mode mode, const Variables& variables)
    : differentiates(mode == Mode::kTrain), mode_(mode), variables_(variables) {
  for (size_t v = 0; v < variables_.all.size(); ++v) {
    Value value;
    value.kind = Value::Kind::kVariable;
    value.rows = variables_.all[v].rows;
    value.columns = variables_.all[v].columns;
    value.variable = static_cast<int>(v);
    add_value(value);
  }
}

ValueId Graph::add_value(const Value& value) {
  values_.push_back(value);
  return value_count() - 1;
}

ValueId Graph::add_batch(int64_t groups, int64_t columns) {
  Value value;
  value.groups = groups;
  value.columns = columns;
  return add_value(value);
}

ValueId Graph::add_per_row(int64_t groups) {
  Value value;
  value.kind = Value::Kind::kPerRow;
  value.groups = groups;
  value.columns = 1;
  return add_value(value);
}

ValueId Graph::add_fixed(int64_t rows, int64_t columns) {
  Value value;
  value.kind = Value::Kind::kFixed;
  value.rows = rows;
  value.columns = columns;
  return add_value(value);
}

ValueId Graph::add_gradient(int v) {
  Value gradient = value(variable(v));
  gradient.kind = Value::Kind::kGradient;
  return add_value(gradient);
}

ValueId Graph::add_constant(std::shared_ptr<const std::vector<float>> numbers) {
  Value value;
  value.kind = Value::Kind::kConstant;
  value.rows = 1;
  value.columns = static_cast<int64_t>(numbers->size());
  value.numbers = std::move(numbers);
  return add_value(value);
}

bool Graph::is_output(ValueId value) const {
  return std::any_of(outputs.begin(), outputs.end(), [&](const Output& output) { return output.y_pred == value; }) ||
         std::find(kept.begin(), kept.end(), value) != kept.end();
}

void Graph::erase(const std::vector<bool>& flags) {
  size_t kept = 0;
  for (size_t i = 0; i < operations_.size(); ++i) {
    if (!flags[i]) std::swap(operations_[kept++], operations_[i]);
  }
  operations_.resize(kept);
}

Uses::Uses(const Graph& graph) {
  const auto count = static_cast<size_t>(graph.value_count());
  producers_.assign(count, -1);
  counts_.assign(count, 0);
  last_readers_.assign(count, -1);
  for (size_t i = 0; i < graph.operations().size(); ++i) {
    for (const Operand& operand : graph.operations()[i]->operands()) {
      if (operand.value == kNoValue) continue;
      const auto value = static_cast<size_t>(operand.value);
      if (operand.use == Use::kWrite) {
        producers_[value] = static_cast<int>(i);
      } else {
        ++counts_[value];
        last_readers_[value] = static_cast<int>(i);
      }
    }
  }
}

}  // namespace engine::graph
