#include "graph/operations/loss.h"

namespace engine::graph {

std::vector<Operand> HostMetrics::operands() const {
  std::vector<Operand> all;
  for (const ValueId value : y_pred) all.push_back(reads(value, kWhole, kWhole));
  return all;
}

std::vector<Operand> AddLosses::operands() const {
  std::vector<Operand> all;
  for (const ValueId value : losses) all.push_back(reads(value, kWhole, kWhole));
  for (const ValueId value : row_mask) all.push_back(reads(value, kWhole, kWhole));
  for (const PenaltyTerm& penalty : penalties) all.push_back(reads(penalty.sums, kWhole, kWhole));
  for (const ValueId value : activity_penalties) all.push_back(reads(value, kWhole, kWhole));
  return all;
}

}  // namespace engine::graph
