#include "graph/operations/weight_penalty.h"

namespace engine::graph {

std::vector<Operand> WeightSums::operands() const {
  if (by_slice) return {writes(sums, kWhole, 'k'), reads(weights, 'k', kWhole)};
  return {writes(sums, kWhole, 'n'), reads(weights, kWhole, 'n')};
}

}  // namespace engine::graph
