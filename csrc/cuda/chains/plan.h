// A kernel for a chain, as far as it is known before a run: how blocks work together, sizes and places, no pointers.
//
// The same plan gives the same bits on every card. A plan depends on the sizes of the network and its batches and on
// the shared memory of a block; which of several possible plans is chosen depends on the other limits of the card, too.
#pragma once
#include "cuda/chains/network.h"

namespace engine::cuda {

/// How the batches of a run are computed: a kernel for each step, one kernel for many batches, or two for each batch.
enum class Way { kSteps, kPersistent, kDataParallel };

/// The blocks that have all weights among them: a block alone, blocks of a cluster, or of a grid. chains/team.h has a
/// type for each.
enum class TeamKind { kOneBlock, kCluster, kGrid };

struct ChainPlan {
  Way way = Way::kSteps;
  TeamKind team = TeamKind::kOneBlock;
  int blocks = 1;       // of a team
  int most_teams = 1;   // that divide the samples of a batch, if the way is data-parallel
  double cycles = 0.0;  // of a batch, as the model in execution_choice.cu predicts
  chains::Network network = {};

  chains::SampleDivision divide(int64_t samples) const { return {samples, network.max_rows, most_teams}; }
};

}  // namespace engine::cuda
