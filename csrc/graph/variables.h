// The weights of a model: which arrays there are, with their shapes, penalties and constraints.
#pragma once
#include <cstdint>
#include <vector>

#include "formulas/kinds.h"

namespace engine {

/// What a variable is changed to after each optimizer step.
struct ConstraintSpec {
  enum class Kind { kNone, kNonNegative, kNorm, kHost };
  enum class Over { kColumn, kRow, kAll };  // whose norm is limited; a vector is one row
  Kind kind = Kind::kNone;
  Over over = Over::kColumn;
  NormLimits limits = {0.0, 0.0, 1.0};
};

/// Penalties on a variable, and its constraint.
struct VariableSpec {
  double l1 = 0.0, l2 = 0.0;
  bool host_penalty = false;  // whether the caller computes a penalty
  ConstraintSpec constraint;
};

/// A weight array (rows, columns). Where its numbers lie in memory is up to the device.
struct Variable {
  int64_t rows, columns;
  std::vector<int64_t> shape;  // as the user sees it
  VariableSpec spec;           // empty where the variable is frozen: Keras leaves frozen weights out of the loss
  bool trainable;              // whether optimizer steps change it, also where the loss doesn't depend on it

  bool is_matrix() const { return shape.size() == 2 && rows == shape[0]; }
  /// Whether the user sees matrices where one row is stored, such as a gain of two axes.
  bool is_flat() const { return shape.size() >= 2 && !is_matrix(); }
};

/// The variables of a model in the order of its layers.
struct Variables {
  std::vector<Variable> all;
  int64_t weights = 0;  // in all of them

  const Variable& operator[](int v) const { return all[static_cast<size_t>(v)]; }
  int add(Variable variable);
};

}  // namespace engine
