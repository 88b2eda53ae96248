// Products of arrays: `einsum` of two operands.
#pragma once
#include <string>

#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = a * b, summed over the letters that `y_letters` doesn't have. Each axis has a letter, as in `einsum`. No operand
/// has a letter twice. Each letter of y is one of a or b, and each letter that is summed over is one of both.
struct Contraction final : Operation {
  Array a, b, y;
  std::string a_letters, b_letters, y_letters;
  Loop rows = kWhole, a_rows = kWhole, b_rows = kWhole;  // the loops over the first axes of y, a and b

  /// Finds these loops. Threads share the first axis of y if it is also the first one of each operand that has it.
  void find_loops(const Graph& graph);

  const char* name() const override { return "contraction"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override { return a_letters + "," + b_letters + "->" + y_letters; }
  void differentiate(Differentiation& gradients) const override;
};

/// Appends a contraction, and returns its output.
Array add_product(Graph& graph, const Array& a, const std::string& a_letters, const Array& b,
                  const std::string& b_letters, const std::string& y_letters);

std::shared_ptr<Layer> read_contraction(const Attributes& attributes);

}  // namespace engine::graph
