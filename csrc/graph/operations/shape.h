// Operations that move numbers without changing them.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = x with another number of rows for each sample; the numbers of a sample keep their order
struct Reshape final : Operation {
  ValueId x = kNoValue, y = kNoValue;

  const char* name() const override { return "reshape"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,j] = x[b, indices[j]], or 0 where indices[j] is -1
struct SelectColumns final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  std::shared_ptr<const std::vector<int32_t>> indices;

  const char* name() const override { return "select_columns"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
  void differentiate(Differentiation& gradients) const override;
};

/// dx[b,i] = sum of dy[b,j] over the j with indices[j] = i
struct SelectColumnsGradient final : Operation {
  ValueId dy = kNoValue, dx = kNoValue;
  std::shared_ptr<const std::vector<int32_t>> indices;

  const char* name() const override { return "select_columns_gradient"; }
  std::vector<Operand> operands() const override { return {writes(dx, kSamples, kWhole), reads(dy, kSamples, kWhole)}; }
};

/// y[b,:] = the rows of all parts side by side
struct Concatenate final : Operation {
  std::vector<ValueId> parts;
  ValueId y = kNoValue;

  const char* name() const override { return "concatenate"; }
  std::vector<Operand> operands() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,j] = x[b, first + j]
struct SliceColumns final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  int64_t first = 0;

  const char* name() const override { return "slice_columns"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
  std::string attributes() const override;
};

std::shared_ptr<Layer> read_select_columns(const Attributes& attributes);
std::shared_ptr<Layer> read_concatenate(const Attributes& attributes);

}  // namespace engine::graph
