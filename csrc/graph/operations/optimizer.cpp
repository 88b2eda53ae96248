#include "graph/operations/optimizer.h"

namespace engine::graph {

std::vector<Operand> ComputeScales::operands() const {
  std::vector<Operand> all{writes(scales, kWhole, kWhole)};
  for (const ValueId value : gradient_squares) all.push_back(reads(value, kWhole, kWhole));
  for (const ValueId value : weight_squares) all.push_back(reads(value, kWhole, kWhole));
  return all;
}

std::vector<Operand> ConstrainWeights::operands() const {
  if (constraint.kind == ConstraintSpec::Kind::kNorm) {
    switch (constraint.over) {
      case ConstraintSpec::Over::kColumn:
        return {updates(weights, kWhole, 'n')};
      case ConstraintSpec::Over::kRow:
        return {updates(weights, 'k', kWhole)};
      case ConstraintSpec::Over::kAll:
        return {updates(weights, kWhole, kWhole)};
    }
  }
  return {updates(weights, 'k', 'n')};
}

}  // namespace engine::graph
