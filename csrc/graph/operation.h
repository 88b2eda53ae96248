// An operation of a graph: what is computed, from which values, and how it differentiates.
#pragma once
#include <string>
#include <vector>

#include "graph/value.h"

namespace engine::graph {

class Differentiation;  // graph/differentiate.h

/// Each kind of operation is a struct of its own, with named operands and attributes; the kinds of one family stand in
/// one file of graph/operations/. An operation never says who runs it, or how.
class Operation {
 public:
  virtual ~Operation() = default;

  virtual const char* name() const = 0;

  /// Its operands, in the order in which a reader expects them. Those that are left out are kNoValue.
  virtual std::vector<Operand> operands() const = 0;

  /// What distinguishes it from others of its kind, for people: "relu", "rate=0.5".
  virtual std::string attributes() const { return {}; }

  virtual InPlace in_place() const { return {}; }

  /// Whether it is a part of the optimizer's step, which is not taken after every batch if gradients are accumulated.
  bool is_of_step = false;

  /// Whether it has weights that training changes.
  virtual bool learns() const { return false; }

  /// The gradient rule: appends the operations that compute the gradients of the loss by its inputs from the gradient
  /// by its output. Without one, std::invalid_argument is thrown where a gradient would have to pass. Where the
  /// derivative is zero, such as by token indices, the rule does nothing.
  virtual void differentiate(Differentiation& gradients) const;
};

/// An operation that the caller does: the device stops before it, and goes on after it.
class HostOperation : public Operation {
 public:
  /// Whether it does more than to write values, so that it is done even if nothing reads these.
  virtual bool has_effects() const { return true; }
};

}  // namespace engine::graph
