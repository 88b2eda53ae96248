// Losses, penalties and metrics that traced functions compute.
#pragma once
#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// The losses of all rows of an output, from an array that a traced function computed. losses[b] = values[b]; if
/// `values` is a single number, each row has it. gradient = that of the batch's loss by `values`, with which
/// differentiation starts: the weight of each row, divided as the reduction of the loss says.
struct TracedLoss final : Operation {
  int output = 0;
  Array values;
  ValueId losses = kNoValue, row_mask = kNoValue;
  Array gradient;      // like `values`; kNoValue where nothing is trained
  Loop rows = kWhole;  // the loop over the samples, if there is a value for each row

  /// Finds whether threads may share the rows.
  void find_loops(const Graph& graph);
  const char* name() const override { return "traced_loss"; }
  std::vector<Operand> operands() const override;
};

/// losses[b] = the number `value`, which a traced function adds to the loss of the batch
struct TracedPenalty final : Operation {
  Array value;
  ValueId losses = kNoValue;

  const char* name() const override { return "traced_penalty"; }
  std::vector<Operand> operands() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// The values of a traced metric: values[b] = x[b], or the number x if x is a single one
struct TracedValues final : Operation {
  Array x;
  ValueId values = kNoValue;

  const char* name() const override { return "traced_values"; }
  std::vector<Operand> operands() const override {
    return {writes(values, kWhole, kWhole), reads(x.value, kWhole, kWhole)};
  }
};

/// "add_loss": adds its input, one number, to the loss.
std::shared_ptr<Layer> read_add_loss(const Attributes& attributes);

}  // namespace engine::graph
