// Reverse-mode differentiation: gradients become operations of the same graph.
#pragma once
#include <map>
#include <utility>
#include <vector>

#include "graph/array.h"

namespace engine::graph {

/// What gradient rules ask for gradients and contribute them to. Operations are visited from the last to the first, so
/// that all readers of a value have contributed to its gradient before the operation that computes the value is
/// visited. There are two uses: the gradients of the loss by all variables that learn, and derivatives within a model,
/// which become arrays that later operations read.
class Differentiation {
 public:
  /// For the gradients of the loss: wants the gradient by each value that depends on a variable that learns.
  explicit Differentiation(Graph& graph);

  /// For derivatives within a model: wants those by `by`, values or variables, and by each value that depends on them.
  Differentiation(Graph& graph, const std::vector<ValueId>& by);

  Graph& graph() { return graph_; }

  /// Whether it is about derivatives within a model, which may be differentiated once more.
  bool within() const { return within_model_; }

  /// Whether the gradient by `x` is needed.
  bool wants(ValueId x) const { return x != kNoValue && wanted_[static_cast<size_t>(x)]; }

  /// The gradient by `y`, summed over all of its readers; kNoValue where the loss does not depend on it.
  ValueId gradient_of(ValueId y);

  /// The same, but a new value of zeros where the loss does not depend on `y`.
  ValueId gradient_or_zeros(ValueId y);

  /// Says that `dx`, which lies in memory as `x` does, is a part of the gradient by `x`.
  void contribute(ValueId x, ValueId dx);
  /// The same for arrays of equal shape, whatever their layout in memory is.
  void contribute(const Array& x, const Array& dx);

  /// Says that the array `dx` is a part of the gradient by a variable.
  void contribute_to_variable(ValueId variable, const Array& dx);

  /// Says that `dx` takes the place of the gradient by `x` that is known so far.
  void replace(ValueId x, ValueId dx) { contributions_[static_cast<size_t>(x)].assign(1, dx); }

  /// A new value for the gradient by a variable, which the operation about to be appended writes; kNoValue for
  /// kNoValue.
  ValueId new_gradient(ValueId variable);

  /// Throws std::invalid_argument if an operation, which has no gradient rule, would have to pass a gradient on.
  void require_no_gradient(const Operation& operation) const;

  /// Visits the forward operations, the first `count` of the graph. Afterwards `Graph::learning` and `Graph::gradients`
  /// have the gradients of the loss, and `derivative_by` returns the derivatives within a model.
  void run(size_t count);

  /// For derivatives within a model, after `run`: the derivative by `x`; zeros where nothing depends on it.
  Array derivative_by(const Array& x);

 private:
  Shape shape_of_variable_or_array(ValueId id) const;
  void find_wanted();
  /// Makes the gradients zeros by those trainable variables on which the loss doesn't depend. Optimizers step them as
  /// well: weights decay, and penalties are gradients, too.
  void add_missing_gradients();
  /// Uses the gradients by variables that the rule just applied has asked for by `new_gradient`.
  void collect_new_gradients();
  /// Zeros, laid out in memory like the value `like` if there is one.
  Array zeros(const Shape& shape, ValueId like = kNoValue);

  Graph& graph_;
  bool within_model_ = false;                        // whether it is about derivatives within a model
  std::vector<bool> wanted_;                         // by value of the forward pass
  std::vector<std::vector<ValueId>> contributions_;  // by value of the forward pass: the parts of its gradient
  /// Gradients of the loss by variable: the first one, and those of the last rule that are to be added to it.
  std::map<int, ValueId> gradients_;
  std::vector<ValueId> further_gradients_;
  /// Within a model, by variable: the parts of the derivative, and gradients of the last rule that are to be read as
  /// arrays.
  std::map<ValueId, std::vector<Array>> by_variables_;
  std::vector<std::pair<ValueId, ValueId>> unread_gradients_;
};

}  // namespace engine::graph
