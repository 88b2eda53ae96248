// Arithmetic on elements: scaling, products and sums of values of one shape.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y[b,n] = scale x[b,n] + offset
struct Affine final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  float scale = 1.0f, offset = 0.0f;

  const char* name() const override { return "affine"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, 'n'), reads(x, kSamples, 'n')}; }
  std::string attributes() const override;
  InPlace in_place() const override { return {x, y}; }
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,n] = 0
struct FillZeros final : Operation {
  ValueId y = kNoValue;

  const char* name() const override { return "fill_zeros"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole)}; }
};

/// y[b,n] = x[b,n] factor[b,n]; no gradient goes through the factor
struct Multiply final : Operation {
  ValueId x = kNoValue, factor = kNoValue, y = kNoValue;

  const char* name() const override { return "multiply"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, 'n'), reads(x, kSamples, 'n'), reads(factor, kSamples, 'n')};
  }
  InPlace in_place() const override { return {x, y}; }
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,n] = terms[0][b,n] + terms[1][b,n] + ..., added from the left
struct Sum final : Operation {
  std::vector<ValueId> terms;
  ValueId y = kNoValue;

  const char* name() const override { return "sum"; }
  std::vector<Operand> operands() const override;
  InPlace in_place() const override { return {terms.front(), y}; }
  void differentiate(Differentiation& gradients) const override;
};

std::shared_ptr<Layer> read_rescaling(const Attributes& attributes);
std::shared_ptr<Layer> read_add(const Attributes& attributes);

}  // namespace engine::graph
