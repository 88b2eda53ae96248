// The one place that chooses how a GPU runs a graph: step by step, a kernel for each, or as one kernel for many batches
// (cuda/persistent), by how many blocks, and how these exchange numbers.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "cuda/persistent/chain.h"
#include "cuda/persistent/network.h"

namespace engine::cuda {

/// What a card can do.
struct CardLimits {
  int multiprocessors = 1;
  int64_t shared_bytes = 0;    // of a block
  int largest_cluster = 1;     // blocks; 1: it has no clusters
  bool grids_can_wait = true;  // whether blocks of a grid may wait for each other
  /// Set once the card has refused to start blocks together that these limits allow.
  std::shared_ptr<std::atomic<bool>> refuses_teams = std::make_shared<std::atomic<bool>>(false);
};

/// How blocks of the persistent kernel exchange numbers.
enum class Exchange { kNone, kCluster, kGrid };

/// The persistent kernel for a chain, as far as it is known before a run: sizes and places, no pointers.
struct PersistentPlan {
  Exchange exchange = Exchange::kNone;
  int blocks = 1;
  double cycles = 0.0;  // of a batch, as the model in execution_choice.cu predicts
  persistent::Network network = {};
};

struct ExecutionChoice {
  std::optional<PersistentPlan> persistent;  // nothing: step by step
  std::string reason;                        // in words, for people
};

/// Chooses for batches of `max_rows` samples, whose rows are uint8 or floats. `kernels` is how many the steps need.
/// ENGINE_CUDA_EXECUTION in the environment limits the choice, for tests and measurements: `steps`, `block`,
/// `cluster:N` or `grid:N` with N blocks.
ExecutionChoice choose_execution(const persistent::Chain& chain, const graph::Graph& graph, const CardLimits& limits,
                                 int64_t max_rows, bool byte_rows, int64_t kernels);

}  // namespace engine::cuda
