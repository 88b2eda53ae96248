// Gradient rules made of operations: those that a user wrote, such as that of a straight-through estimator, and those
// of operations that Python computes.
#pragma once
#include <memory>
#include <vector>

#include "graph/array_layer.h"

namespace engine::graph {

/// What is computed from the gradient by an output: nodes that read that gradient (number -1), the output (-2), arrays
/// of the forward pass (-3 is the first) and each other.
struct GradientRule {
  struct Node {
    std::shared_ptr<const Layer> layer;
    std::vector<int> inputs;
  };
  std::vector<Node> nodes;
  /// For each gradient: the array that it is by, and the number of the value that is it.
  std::vector<int> by, results;

  /// Throws std::invalid_argument where the rule of an output of shape `y` doesn't fit the shapes of what it reads.
  void check(const Shape& y, const std::vector<Shape>& read) const;

  /// Appends the nodes to a graph, and says what the gradients by some of the arrays in `read` are.
  void apply(Differentiation& gradients, const Array& dy, const Array& y, const std::vector<Array>& read) const;

  /// Whether Python computes one of the nodes.
  bool asks_host() const;
};

/// The rule of the attributes "nodes", "by" and "results".
std::shared_ptr<const GradientRule> read_rule(const Attributes& attributes);

/// Layer "custom_gradient": the first input, with a rule in place of its gradient. The rule reads the other inputs.
std::shared_ptr<Layer> read_custom_gradient(const Attributes& attributes);

}  // namespace engine::graph
