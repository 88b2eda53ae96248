// Reverse-mode differentiation: gradients become operations of the same graph.
#pragma once
#include <map>
#include <utility>
#include <vector>

#include "graph/array.h"

namespace engine::graph {

/// What the gradient rule of an operation may ask for and say. Operations are visited from the last to the first, so
/// that all readers of a value have contributed to its gradient before the operation that computes the value is
/// visited.
class Differentiation {
 public:
  /// Values count as wanted if a variable that learns has a part in them.
  explicit Differentiation(Graph& graph);

  /// For derivatives within a model: values count as wanted if one of `by`, which may be variables, has a part in them.
  Differentiation(Graph& graph, const std::vector<ValueId>& by);

  Graph& graph() { return graph_; }

  /// Whether something learns that `x` depends on, so that the gradient by `x` is needed.
  bool wants(ValueId x) const { return x != kNoValue && wanted_[static_cast<size_t>(x)]; }

  /// The gradient by `y`, summed over all of its readers; kNoValue where the loss does not depend on it.
  ValueId gradient_of(ValueId y);

  /// The same, but a new value of zeros where the loss does not depend on `y`.
  ValueId gradient_or_zeros(ValueId y);

  /// Says that `dx` is a part of the gradient by `x`.
  void contribute(ValueId x, ValueId dx);
  /// The same for arrays of equal shape, whatever their layout in memory is.
  void contribute(const Array& x, const Array& dx);

  /// Says that `dx` is a part of the gradient by a variable.
  void contribute_to_variable(ValueId variable, const Array& dx);

  /// Says that `dx` takes the place of the gradient by `x` that is known so far.
  void replace(ValueId x, ValueId dx) { contributions_[static_cast<size_t>(x)].assign(1, dx); }

  /// A new value for the gradient by a variable, which the operation about to be appended writes; kNoValue for
  /// kNoValue.
  ValueId new_gradient(ValueId variable);

  /// Visits the forward operations, the first `count` of the graph. Afterwards, unless it is about derivatives within a
  /// model, the graph knows which variables have gradients, and where these are.
  void run(size_t count);

  /// For derivatives within a model, after `run`: the derivative by `x`; zeros where nothing depends on it.
  Array derivative_by(const Array& x);

 private:
  Shape shape_of_variable_or_array(ValueId id) const;
  void find_wanted();
  void add_to_first_gradients();
  /// The sum of arrays that are equally large, as an array of this shape.
  Array sum(const std::vector<Array>& terms, const Shape& shape);

  Graph& graph_;
  bool within_ = false;                                 // whether it is about derivatives within a model
  std::map<ValueId, std::vector<Array>> by_variables_;  // within a model: parts of the derivative by each variable
  std::vector<bool> wanted_;                            // by value of the forward pass
  std::vector<std::vector<ValueId>> contributions_;     // by value
  std::vector<bool> of_arrays_;  // by value: whether functions that users wrote read it, so that maps add its parts
  std::map<int, ValueId> gradients_;                 // by variable: its first gradient, to which others are added
  std::vector<ValueId> unadded_;                     // further gradients by variables, of the operation visited last
  std::vector<std::pair<ValueId, ValueId>> unread_;  // within a model: variables and gradients of that operation
};

}  // namespace engine::graph
