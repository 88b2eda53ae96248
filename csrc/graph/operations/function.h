// Functions of users that are called on their own, outside of any epoch: their arguments and results, and the variables
// that they change.
#pragma once
#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = argument number `index` of a call
struct ReadArgument final : Operation {
  int index = 0;
  Array y;

  const char* name() const override { return "read_argument"; }
  std::vector<Operand> operands() const override { return {writes(y.value, kWhole, kWhole)}; }
  std::string attributes() const override { return std::to_string(index); }
};

/// result number `index` of a call = x
struct WriteResult final : Operation {
  int index = 0;
  Array x;

  const char* name() const override { return "write_result"; }
  std::vector<Operand> operands() const override { return {reads(x.value, kWhole, kWhole)}; }
  std::string attributes() const override { return std::to_string(index); }
};

/// variable = x
struct AssignVariable final : Operation {
  ValueId variable = kNoValue;
  Array x;

  const char* name() const override { return "assign"; }
  std::vector<Operand> operands() const override {
    return {updates(variable, kWhole, kWhole), reads(x.value, kWhole, kWhole)};
  }
};

/// Layers "argument"; "assign" (input 0 is a variable, input 1 its new value); "assign_after_batch", the same for a
/// weight that is not trained, after everything else of a batch, and perhaps `when` it is one of training or of
/// predictions only; and "step": the optimizer steps a variable (input 0) by a gradient (input 1).
std::shared_ptr<Layer> read_argument(const Attributes& attributes);
std::shared_ptr<Layer> read_assign(const Attributes& attributes);
std::shared_ptr<Layer> read_assign_after_batch(const Attributes& attributes);
std::shared_ptr<Layer> read_step(const Attributes& attributes);

}  // namespace engine::graph
