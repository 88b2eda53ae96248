// Products of arrays: `einsum` of two operands.
#pragma once
#include <string>

#include "graph/array.h"
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = sum over the letters that are not in `y_letters` of a b. Each axis has a letter, as in `einsum`. No operand has a
/// letter twice, every letter of y is one of a or b, and every other letter is one of both.
struct Contraction final : Operation {
  Array a, b, y;
  std::string a_letters, b_letters, y_letters;

  const char* name() const override { return "contraction"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override { return a_letters + "," + b_letters + "->" + y_letters; }
  void differentiate(Differentiation& gradients) const override;
};

std::shared_ptr<Layer> read_contraction(const Attributes& attributes);

}  // namespace engine::graph
