#include "graph/differentiate.h"

#include <algorithm>

#include "graph/operations/elementwise.h"
#include "graph/operations/optimizer.h"

namespace engine::graph {

Differentiation::Differentiation(Graph& graph)
    : graph_(graph),
      wanted_(static_cast<size_t>(graph.value_count())),
      contributions_(static_cast<size_t>(graph.value_count())) {
  for (const auto& operation : graph.operations()) {
    const auto operands = operation->operands();
    const bool depends = operation->learns() || std::any_of(operands.begin(), operands.end(), [&](const Operand& each) {
                           return each.use == Use::kRead && wants(each.value);
                         });
    if (!depends) continue;
    for (const Operand& each : operands) {
      if (each.value != kNoValue && each.use == Use::kWrite) wanted_[static_cast<size_t>(each.value)] = true;
    }
  }
}

ValueId Differentiation::gradient_of(ValueId y) {
  std::vector<ValueId>& parts = contributions_[static_cast<size_t>(y)];
  if (parts.size() > 1) {
    auto& sum = graph_.add<Sum>();
    sum.terms = parts;
    sum.y = graph_.add_like(parts.front());
    parts.assign(1, sum.y);
  }
  return parts.empty() ? kNoValue : parts.front();
}

ValueId Differentiation::gradient_or_zeros(ValueId y) {
  const ValueId gradient = gradient_of(y);
  if (gradient != kNoValue) return gradient;
  auto& zeros = graph_.add<FillZeros>();
  zeros.y = graph_.add_like(y);
  return zeros.y;
}

void Differentiation::contribute(ValueId x, ValueId dx) {
  if (wants(x)) contributions_[static_cast<size_t>(x)].push_back(dx);
}

ValueId Differentiation::new_gradient(ValueId variable) {
  if (variable == kNoValue) return kNoValue;
  const int v = graph_.value(variable).variable;
  const ValueId gradient = graph_.add_gradient(v);
  if (!gradients_.emplace(v, gradient).second) unadded_.push_back(gradient);
  return gradient;
}

void Differentiation::run(size_t count) {
  for (size_t i = count; i-- > 0;) {
    const Operation& operation = *graph_.operations()[i];
    const auto operands = operation.operands();
    const bool reached = std::any_of(operands.begin(), operands.end(),
                                     [&](const Operand& each) { return each.use == Use::kWrite && wants(each.value); });
    if (!reached) continue;
    operation.differentiate(*this);
    for (const ValueId gradient : unadded_) {
      auto& add = graph_.add<AddGradient>();
      add.gradient = gradient;
      add.sum = gradients_.at(graph_.value(gradient).variable);
    }
    unadded_.clear();
  }
  for (const auto& [v, gradient] : gradients_) {
    graph_.learning.push_back(v);
    graph_.gradients.push_back(gradient);
  }
}

}  // namespace engine::graph
