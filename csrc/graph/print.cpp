#include "graph/print.h"

#include <cstdio>

#include "graph/graph.h"

namespace engine::graph {

std::string short_number(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

namespace {

/// Such as `%5[32b,128]`, `weights 0[784,128]`: `32b` are 32 rows for each sample of the batch.
std::string operand_text(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  const std::string columns = std::to_string(value.columns);
  switch (value.kind) {
    case Value::Kind::kVariable:
      return "weights " + std::to_string(value.variable) + "[" + std::to_string(value.rows) + "," + columns + "]";
    case Value::Kind::kGradient:
      return "gradient " + std::to_string(value.variable) + "[" + std::to_string(value.rows) + "," + columns + "]";
    case Value::Kind::kConstant:
      return "constants[" + columns + "]";
    case Value::Kind::kFixed:
      return "%" + std::to_string(id) + "[" + std::to_string(value.rows) + "," + columns + "]";
    case Value::Kind::kBatch:
    case Value::Kind::kPerRow:
      break;
  }
  return "%" + std::to_string(id) + "[" + (value.groups == 1 ? "" : std::to_string(value.groups)) + "b," + columns +
         "]";
}

}  // namespace

std::string to_text(const Graph& graph, const Operation& operation) {
  std::string written, read;
  for (const Operand& operand : operation.operands()) {
    if (operand.value == kNoValue) continue;
    std::string& list = operand.use == Use::kRead ? read : written;
    list += (list.empty() ? "" : ", ") + operand_text(graph, operand.value);
    if (operand.use == Use::kUpdate) read += (read.empty() ? "" : ", ") + operand_text(graph, operand.value);
  }
  const std::string attributes = operation.attributes();
  return (written.empty() ? "" : written + " = ") + operation.name() + "(" + read + ")" +
         (attributes.empty() ? "" : " " + attributes);
}

std::string to_text(const Graph& graph) {
  std::string text;
  for (const auto& operation : graph.operations()) text += to_text(graph, *operation) + "\n";
  return text;
}

}  // namespace engine::graph
