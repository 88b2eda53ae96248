// How variables follow their gradients: the operations after the backward pass.
#pragma once
#include "graph/graph.h"
#include "graph/operations/weight_penalty.h"

namespace engine::graph {

/// Appends what leads from stored gradients (graph.gradients) to new weights: penalties join them, batches are
/// accumulated, norms are taken for clipping, the rule steps the weights, their running mean follows.
void add_learning(Graph& graph, const OptimizerSpec& optimizer, const std::vector<WeightPenalty>& penalties);

}  // namespace engine::graph
