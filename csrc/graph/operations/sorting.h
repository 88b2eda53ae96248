// Sorting along an axis.
#pragma once
#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = the numbers of x in ascending order along its last axis, NaN last; or the places in x that these have, where
/// equal numbers stay in order.
struct Sort final : Operation {
  Array x, y;
  bool gives_places = false;
  Loop rows = kWhole;  // the loop over the first axis, if it is another one

  const char* name() const override { return "sort"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override { return gives_places ? "places" : "numbers"; }
  void differentiate(Differentiation& gradients) const override;
};

std::shared_ptr<Layer> read_sort(const Attributes& attributes);

}  // namespace engine::graph
