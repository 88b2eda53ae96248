// Graphs as text, for people.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace engine::graph {

/// Six significant digits at most, without zeros at the end.
std::string short_number(double number);

/// How a text calls the values of a graph: variables have the names that the caller gives, the gradient by a variable w
/// is d(w), and all other values are %0, %1, ... in the order in which the operations compute them.
class ValueNames {
 public:
  /// `variables` has a name for each variable, or is empty: then they are "weights 0", "weights 1", ...
  ValueNames(const Graph& graph, const std::vector<std::string>& variables);
  const std::string& operator[](ValueId value) const { return names_[static_cast<size_t>(value)]; }

 private:
  std::vector<std::string> names_;  // by value; empty for values that no operation uses
};

/// An operation with its operands, which `operand_text` writes: `%1 = dense(%0, dense/kernel, dense/bias) relu`, or
/// `dense_weight_step(%0, %3) updates dense/kernel, dense/bias`.
std::string to_text(const std::string& operation, const std::vector<Operand>& operands, const std::string& attributes,
                    const std::function<std::string(const Operand&)>& operand_text);

/// The graph as text: what the signs mean, and then one operation a line with the sizes of its operands.
std::string to_text(const Graph& graph, const ValueNames& names);

}  // namespace engine::graph
