// Where the arrays of traced functions come from: variables and gradients, constants, targets and random numbers.
#pragma once
#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = the weights of a variable, row by row
struct ReadVariable final : Operation {
  ValueId variable = kNoValue;
  Array y;
  bool trainable = true;

  const char* name() const override { return "read_variable"; }
  std::vector<Operand> operands() const override;
  bool learns() const override { return trainable; }
  void differentiate(Differentiation& gradients) const override;
};

/// gradient = x, in the memory layout of the variable
struct StoreGradient final : Operation {
  Array x;
  ValueId gradient = kNoValue;

  const char* name() const override { return "store_gradient"; }
  std::vector<Operand> operands() const override;
};

/// y = the gradient by a variable, row by row
struct ReadGradient final : Operation {
  ValueId gradient = kNoValue;
  Array y;

  const char* name() const override { return "read_gradient"; }
  std::vector<Operand> operands() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y = numbers that never change
struct ConstantArray final : Operation {
  std::shared_ptr<const std::vector<float>> numbers;
  Array y;

  const char* name() const override { return "constants"; }
  std::vector<Operand> operands() const override;
};

/// y[b,:] = all targets of sample b for an output; class indices as floats
struct ReadTarget final : Operation {
  int output = 0;
  Array y;

  const char* name() const override { return "read_target"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
};

/// y = random numbers: element i is number i of the random stream of `seed` and the step. So they are other ones in
/// each batch, unless the seed is fixed: then the step is 0.
struct RandomArray final : Operation {
  enum class Distribution { kUniform, kNormal, kTruncatedNormal };
  static constexpr const char* kNames[] = {"uniform", "normal", "truncated_normal"};

  Distribution distribution = Distribution::kUniform;
  Array y;
  float low = 0.0f, high = 1.0f;  // of uniform numbers; mean and standard deviation of normal ones
  uint64_t seed = 0;
  bool fixed = false;
  Loop rows = kWhole;  // the loop over the first axis of y

  const char* name() const override { return "random"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override { return kNames[static_cast<size_t>(distribution)]; }
};

/// Appends a `ReadVariable` or a `ConstantArray`, and returns its output.
Array variable_as_array(Graph& graph, ValueId variable, const Shape& shape, bool trainable);
Array constants_as_array(Graph& graph, const std::shared_ptr<const std::vector<float>>& numbers, const Shape& shape);

/// "weight": a weight of another layer, by the number of its variable. "variable": a variable of its own. "choose":
/// input 0 in training, else input 1. "mask_as_array": 1 for each row of the input that its mask keeps, else 0.
std::shared_ptr<Layer> read_weight(const Attributes& attributes);
std::shared_ptr<Layer> read_variable_layer(const Attributes& attributes);
std::shared_ptr<Layer> read_constant_array(const Attributes& attributes);
std::shared_ptr<Layer> read_random_array(const Attributes& attributes);
std::shared_ptr<Layer> read_choose(const Attributes& attributes);
std::shared_ptr<Layer> read_with_mask(const Attributes& attributes);
std::shared_ptr<Layer> read_mask_as_array(const Attributes& attributes);

}  // namespace engine::graph
