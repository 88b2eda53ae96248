// A graph as the kernels for chains see it: dense layers one after the other, and a loss.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/operations/dense.h"
#include "graph/operations/input_output.h"
#include "graph/operations/loss.h"

namespace engine::cuda::chains {

/// The operations of a graph; it borrows them.
struct Chain {
  struct Layer {
    const graph::Dense* dense = nullptr;
    std::vector<const graph::Operation*> stages;      // activations and dropout behind it
    double kernel_penalty = 0.0, bias_penalty = 0.0;  // factors of their sums of squares in the loss
  };
  const graph::ReadInput* input = nullptr;
  std::vector<Layer> layers;
  const graph::LossOfRows* loss = nullptr;
  std::vector<const graph::MetricOfRows*> metrics;
};

/// The chain that a graph of a training is; nothing where it is none, and then `why_not` says why.
std::optional<Chain> find_chain(const graph::Graph& graph, std::string& why_not);

}  // namespace engine::cuda::chains
