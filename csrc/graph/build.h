// From a model of layers to the graph of one batch.
#pragma once
#include <memory>

#include "graph/graph.h"
#include "graph/model.h"

namespace engine::graph {

/// Forward pass; in training and evaluation losses and metrics; in training gradients and the optimizer's step.
std::shared_ptr<const Graph> build_graph(const Model& model, const TrainingSpec& training, Mode mode);

}  // namespace engine::graph
