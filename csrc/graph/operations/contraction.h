// Products of arrays: `einsum` of two operands.
#pragma once
#include <string>

#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = sum over the letters that are not in `y_letters` of a b. Each axis has a letter, as in `einsum`. No operand has
/// a letter twice, every letter of y is one of a or b, and every other letter is one of both.
struct Contraction final : Operation {
  Array a, b, y;
  std::string a_letters, b_letters, y_letters;
  Loop rows = kWhole, a_rows = kWhole, b_rows = kWhole;  // the loop over the first axes, where threads may share it

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
