#include "graph/operations/weight_penalty.h"

#include "formulas/summation.h"

namespace engine::graph {

std::vector<Operand> WeightSums::operands() const {
  if (by_slice) return {writes(sums, kWhole, 'k'), reads(weights, 'k', kWhole)};
  return {writes(sums, kWhole, 'n'), reads(weights, kWhole, 'n')};
}

namespace {

/// Whether the sums are made by slices of rows, whose owner steps these rows later; else they are made by column.
bool sums_by_slice(const Variable& v) { return v.rows > 1 && sums_in_slices(v.columns); }

WeightPenalty add_elementwise(Graph& graph, int v, bool squares, double factor) {
  const Variable& variable = graph.variables()[v];
  const bool by_slice = sums_by_slice(variable);
  Value sums;
  sums.kind = Value::Kind::kFixed;
  sums.rows = 1;
  sums.columns = by_slice ? (variable.rows + kSlice - 1) / kSlice : variable.columns;
  sums.double_buffered = true;
  const ValueId id = graph.add_value(sums);
  auto& sum = graph.add<WeightSums>();
  sum.weights = graph.variable(v);
  sum.sums = id;
  sum.squares = squares;
  sum.by_slice = by_slice;
  return {v, {id, factor}};
}

WeightPenalty add_host(Graph& graph, int v) {
  const Variable& variable = graph.variables()[v];
  auto& penalty = graph.add<HostPenalty>();
  penalty.weights = graph.variable(v);
  penalty.sum = graph.add_fixed(1, 1);
  if (graph.mode() == Mode::kTrain) penalty.slopes = graph.add_fixed(variable.rows, variable.columns);
  return {v, {penalty.sum, 1.0}, penalty.slopes};
}

}  // namespace

std::vector<WeightPenalty> add_weight_penalties(Graph& graph) {
  std::vector<WeightPenalty> penalties;
  for (size_t i = 0; i < graph.variables().all.size(); ++i) {
    const int v = static_cast<int>(i);
    const VariableSpec& spec = graph.variables()[v].spec;
    if (spec.l1 != 0.0) penalties.push_back(add_elementwise(graph, v, false, spec.l1));
    if (spec.l2 != 0.0) penalties.push_back(add_elementwise(graph, v, true, spec.l2));
    if (spec.host_penalty) penalties.push_back(add_host(graph, v));
  }
  return penalties;
}

}  // namespace engine::graph
