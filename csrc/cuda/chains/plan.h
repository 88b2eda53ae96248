// A kernel for a chain, as far as it is known before a run: how blocks work together, sizes and places, no pointers.
#pragma once
#include "cuda/chains/network.h"

namespace engine::cuda {

/// How the blocks of a team exchange numbers.
enum class Exchange { kNone, kCluster, kGrid };

struct ChainPlan {
  Exchange exchange = Exchange::kNone;
  int blocks = 1;  // of a team
  /// 0: one team trains on many batches, by the persistent kernel. Else the data-parallel kernel trains on one batch,
  /// whose samples up to so many teams divide.
  int most_teams = 0;
  double cycles = 0.0;  // of a batch, as the model in execution_choice.cu predicts
  chains::Network network = {};

  bool is_data_parallel() const { return most_teams > 0; }
  /// Micro-batches that each team goes through, and the number of teams, for a batch of so many samples.
  int64_t micro_batches(int64_t samples) const {
    return chains::micro_batches_of_team(samples, network.max_rows, most_teams);
  }
  int64_t teams(int64_t samples) const {
    const int64_t rows_of_team = micro_batches(samples) * network.max_rows;
    return (samples + rows_of_team - 1) / rows_of_team;
  }
};

}  // namespace engine::cuda
