#include "graph/print.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "graph/array.h"

namespace engine::graph {

std::string short_number(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

ValueNames::ValueNames(const Graph& graph, const std::vector<std::string>& variables) {
  names_.resize(static_cast<size_t>(graph.value_count()));
  std::map<int, int> gradients;  // how many each variable has: several, where layers share it
  int computed = 0, constants = 0;
  const auto name_of = [&](const Value& value) -> std::string {
    const auto v = static_cast<size_t>(value.variable);
    switch (value.kind) {
      case Value::Kind::kVariable:
        return v < variables.size() ? variables[v] : "weights " + std::to_string(v);
      case Value::Kind::kGradient: {
        const int number = gradients[value.variable]++;
        return "d(" + names_[v] + ")" + (number == 0 ? "" : " part " + std::to_string(number));
      }
      case Value::Kind::kConstant:
        return "constants " + std::to_string(constants++);
      case Value::Kind::kBatch:
      case Value::Kind::kArray:
      case Value::Kind::kPerRow:
      case Value::Kind::kFixed:
        break;
    }
    return "%" + std::to_string(computed++);
  };
  for (size_t v = 0; v < graph.variables().all.size(); ++v) names_[v] = name_of(graph.value(static_cast<ValueId>(v)));
  for (const auto& operation : graph.operations()) {
    for (const Operand& operand : operation->operands()) {
      if (operand.value == kNoValue) continue;
      std::string& name = names_[static_cast<size_t>(operand.value)];
      if (name.empty()) name = name_of(graph.value(operand.value));
    }
  }
}

namespace {

/// Such as `[784,128]`, `[b,10]`, or `[32b,10]` where there are 32 rows for each of b samples.
std::string sizes(const Graph& graph, const Value& value) {
  const std::string samples = (value.groups == 1 ? "" : std::to_string(value.groups)) + "b";
  const std::string columns = std::to_string(value.columns);
  switch (value.kind) {
    case Value::Kind::kBatch:
      return "[" + samples + "," + columns + "]";
    case Value::Kind::kArray: {
      const std::string shape = text_of(value.shape);
      return "[" + shape.substr(1, shape.size() - 2) + "]";
    }
    case Value::Kind::kPerRow:
      return "[" + samples + "]";
    case Value::Kind::kConstant:
      return "[" + columns + "]";
    case Value::Kind::kFixed:
      return "[" + std::to_string(value.rows) + "," + columns + "]";
    case Value::Kind::kVariable:
    case Value::Kind::kGradient:
      break;
  }
  std::string shape;
  for (const int64_t size : graph.variables()[value.variable].shape) {
    shape += (shape.empty() ? "" : ",") + std::to_string(size);
  }
  return "[" + shape + "]";
}

}  // namespace

std::string to_text(const std::string& operation, const std::vector<Operand>& operands, const std::string& attributes,
                    const std::function<std::string(const Operand&)>& operand_text) {
  std::string lists[3];  // by Use
  for (const Operand& operand : operands) {
    if (operand.value == kNoValue) continue;
    std::string& list = lists[static_cast<size_t>(operand.use)];
    list += (list.empty() ? "" : ", ") + operand_text(operand);
  }
  const auto& [read, written, updated] = lists;
  return (written.empty() ? "" : written + " = ") + operation + "(" + read + ")" +
         (attributes.empty() ? "" : " " + attributes) + (updated.empty() ? "" : " updates " + updated);
}

std::string to_text(const Graph& graph, const ValueNames& names) {
  std::string operations;
  bool has_gradients = false;
  for (const auto& operation : graph.operations()) {
    const auto operands = operation->operands();
    has_gradients = has_gradients || std::any_of(operands.begin(), operands.end(), [&](const Operand& operand) {
                      return operand.value != kNoValue && graph.value(operand.value).kind == Value::Kind::kGradient;
                    });
    operations +=
        "  " +
        to_text(operation->name(), operands, operation->attributes(),
                [&](const Operand& each) { return names[each.value] + sizes(graph, graph.value(each.value)); }) +
        "\n";
  }
  return std::string("Graph: what is computed for a batch. b is the number of samples, and %0, %1, ... are values.\n") +
         (has_gradients ? "d(w) is the gradient of the loss by the weights w.\n" : "") + "\n" + operations;
}

}  // namespace engine::graph
