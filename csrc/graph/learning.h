// How variables follow their gradients: the operations after the backward pass.
#pragma once
#include "graph/graph.h"
#include "graph/operations/loss.h"

namespace engine::graph {

/// A penalty on the weights of a variable, as far as it is known before the forward pass.
struct WeightPenalty {
  int variable;
  PenaltyTerm term;
  ValueId slopes = kNoValue;  // its gradient by the weights, where that is stored
  bool transposed = false;    // whether the slopes are those of the transposed matrix
};

/// Appends the operations that compute the penalties on all variables; returns the penalties in the order of variables.
std::vector<WeightPenalty> add_weight_penalties(Graph& graph);

/// Appends what leads from stored gradients (graph.gradients) to new weights: penalties join them, batches are
/// accumulated, norms are taken for clipping, the rule steps the weights, their running mean follows.
void add_learning(Graph& graph, const OptimizerSpec& optimizer, const std::vector<WeightPenalty>& penalties);

}  // namespace engine::graph
