// The one place that chooses how a GPU trains a graph: a kernel for each step, or, for a chain of dense layers that
// fits into shared memory, the kernels of cuda/chains. Those train on many batches by one kernel, or on each large
// batch by two.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "cuda/chains/chain.h"
#include "cuda/chains/plan.h"

namespace engine::cuda {

/// How many clusters of 2, 4, 8 and 16 blocks run at the same time. None, where a card has no clusters.
using ClustersAtOnce = std::array<int, 4>;

/// What a card can do.
struct CardLimits {
  int multiprocessors = 1;
  int64_t shared_bytes = 0;  // of a block
  ClustersAtOnce clusters = {};
  bool grids_can_wait = true;     // whether blocks of a grid may wait for each other
  bool fast_tensor_cores = true;  // whether they multiply TensorFloat32 at several times the rate of float32
  /// Set once the card has refused to start blocks together that these limits allow.
  std::shared_ptr<std::atomic<bool>> refuses_teams = std::make_shared<std::atomic<bool>>(false);
};

struct ExecutionChoice {
  std::optional<ChainPlan> plan;  // nothing: step by step
  std::string reason;             // in words, for people
};

/// Chooses for batches of `max_rows` samples, whose rows are uint8 or floats. `kernels` is how many the steps need.
/// ENGINE_CUDA_EXECUTION in the environment limits the choice, for tests and measurements: `steps`; one kernel for many
/// batches by `block`, `cluster:N` or `grid:N`, with N blocks; or `teams:N`, teams of N blocks that divide each batch.
ExecutionChoice choose_execution(const chains::Chain& chain, const graph::Graph& graph, const CardLimits& limits,
                                 int64_t max_rows, bool byte_rows, int64_t kernels);

}  // namespace engine::cuda
