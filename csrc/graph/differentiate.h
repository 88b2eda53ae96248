// Reverse-mode differentiation: gradients become operations of the same graph.
#pragma once
#include <map>
#include <vector>

#include "graph/graph.h"

namespace engine::graph {

/// What the gradient rule of an operation may ask for and say. Operations are visited from the last to the first, so
/// that all readers of a value have contributed to its gradient before the operation that computes the value is
/// visited.
class Differentiation {
 public:
  /// Values count as wanted if a variable that learns has a part in them.
  explicit Differentiation(Graph& graph);

  Graph& graph() { return graph_; }

  /// Whether something learns that `x` depends on, so that the gradient by `x` is needed.
  bool wants(ValueId x) const { return x != kNoValue && wanted_[static_cast<size_t>(x)]; }

  /// The gradient by `y`, summed over all of its readers; kNoValue where the loss does not depend on it.
  ValueId gradient_of(ValueId y);

  /// The same, but a new value of zeros where the loss does not depend on `y`.
  ValueId gradient_or_zeros(ValueId y);

  /// Says that `dx` is a part of the gradient by `x`.
  void contribute(ValueId x, ValueId dx);

  /// Says that `dx` takes the place of the gradient by `x` that is known so far.
  void replace(ValueId x, ValueId dx) { contributions_[static_cast<size_t>(x)].assign(1, dx); }

  /// A new value for the gradient by a variable, which the operation about to be appended writes; kNoValue for
  /// kNoValue.
  ValueId new_gradient(ValueId variable);

  /// Visits the forward operations, the first `count` of the graph. Afterwards the graph knows which variables have
  /// gradients, and where these are.
  void run(size_t count);

 private:
  Graph& graph_;
  std::vector<bool> wanted_;                         // by value of the forward pass
  std::vector<std::vector<ValueId>> contributions_;  // by value
  std::map<int, ValueId> gradients_;                 // by variable: its first gradient, to which others are added
  std::vector<ValueId> unadded_;                     // further gradients by variables, of the operation visited last
};

}  // namespace engine::graph
