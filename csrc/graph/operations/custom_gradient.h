// Gradient rules that a user wrote, such as that of a straight-through estimator.
#pragma once
#include <memory>
#include <vector>

#include "graph/array_layer.h"

namespace engine::graph {

/// What a user's function computes from the gradient by an output: nodes that read that gradient (number -1), arrays of
/// the forward pass (-2 is the first) and each other.
struct GradientRule {
  struct Node {
    std::shared_ptr<const Layer> layer;
    std::vector<int> inputs;
  };
  std::vector<Node> nodes;
  /// For each gradient: the array that it is by, and the number of the value that is it.
  std::vector<int> by, results;

  /// Appends the nodes to a graph, and says what the gradients by some of the arrays in `read` are.
  void apply(Differentiation& gradients, const Array& dy, const std::vector<Array>& read) const;
};

/// Layer "custom_gradient": the first input, with a rule in place of its gradient. The rule reads the other inputs.
std::shared_ptr<Layer> read_custom_gradient(const Attributes& attributes);

}  // namespace engine::graph
