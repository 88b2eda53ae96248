// Penalties on weights: what they add to the loss, and to the gradients.
#pragma once
#include <vector>

#include "graph/graph.h"
#include "graph/operation.h"
#include "graph/operations/loss.h"

namespace engine::graph {

/// sums = partial sums of |w|, or of w^2, over the elements of a variable. A wide one is summed by column: sums[n]. A
/// narrow one (`by_slice`) by slices of 16 rows, whose sums belong to whoever steps these rows: sums[slice].
struct WeightSums final : Operation {
  ValueId weights = kNoValue, sums = kNoValue;
  bool squares = true;
  bool by_slice = false;

  const char* name() const override { return squares ? "squared_weights" : "weight_magnitudes"; }
  std::vector<Operand> operands() const override;
};

/// The caller computes a penalty on a variable, and in training its slopes.
struct HostPenalty final : HostOperation {
  ValueId weights = kNoValue, sum = kNoValue, slopes = kNoValue;

  const char* name() const override { return "host_penalty"; }
  std::vector<Operand> operands() const override {
    return {writes(sum, kWhole, kWhole), writes(slopes, kWhole, kWhole), reads(weights, kWhole, kWhole)};
  }
};

/// gradient += l1 sign(w) + 2 l2 w, elementwise
struct AddPenaltyGradient final : Operation {
  ValueId weights = kNoValue, gradient = kNoValue;
  double l1 = 0.0, l2 = 0.0;

  const char* name() const override { return "add_penalty_gradient"; }
  std::vector<Operand> operands() const override { return {updates(gradient, 'k', 'n'), reads(weights, 'k', 'n')}; }
};

/// gradient += slopes
struct AddSlopes final : Operation {
  ValueId slopes = kNoValue, gradient = kNoValue;

  const char* name() const override { return "add_slopes"; }
  std::vector<Operand> operands() const override {
    return {updates(gradient, 'k', 'n'), reads(slopes, kWhole, kWhole)};
  }
};

/// A penalty on the weights of a variable, as far as it is known before the forward pass.
struct WeightPenalty {
  int variable;
  PenaltyTerm term;
  ValueId slopes = kNoValue;  // its gradient by the weights, where that is stored
};

/// Appends the operations that compute the penalties on all variables; returns the penalties in the order of variables.
std::vector<WeightPenalty> add_weight_penalties(Graph& graph);

}  // namespace engine::graph
