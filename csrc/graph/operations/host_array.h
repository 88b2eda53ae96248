// Array operations that Python computes, such as the inverse of a matrix.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

struct GradientRule;  // graph/operations/custom_gradient.h

/// y = function(x_0, x_1, ...). All numbers of each array lie side by side.
struct HostArray final : HostOperation {
  std::string function, options;  // its name, and its other arguments as JSON
  std::vector<Array> x;
  Array y;
  std::shared_ptr<const GradientRule> rule;  // null: no gradient can pass
  std::vector<Array> read;                   // what the rule reads beside y and the gradient by it

  const char* name() const override { return "host_array"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override { return function; }
  bool has_effects() const override { return false; }
  void differentiate(Differentiation& gradients) const override;
};

/// Layer "host": the first `arguments` inputs are those of the function, and its rule, if it has one, reads all of
/// them.
std::shared_ptr<Layer> read_host_array(const Attributes& attributes);

}  // namespace engine::graph
