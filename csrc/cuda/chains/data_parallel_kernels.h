// Starts the two kernels that train on one batch: teams of blocks sum the gradients of their samples, and then the
// weights are stepped.
#pragma once
#include "cuda/execution_choice.h"
#include "cuda/schedule.h"

namespace engine::cuda::chains {

/// Lets the data-parallel kernel use all shared memory that a block of the current card can have. Returns how many
/// clusters run it at the same time.
ClustersAtOnce prepare_data_parallel_kernels(const CardLimits& limits);

/// Floats of scratch that the plan needs in memory of the card.
int64_t scratch_of_data_parallel_kernels(const ChainPlan& plan);

/// Trains on a batch, which lies on the card and has so many samples. Returns false, and does nothing, where the card
/// refuses to run the blocks of a team together.
bool launch_data_parallel_kernels(cudaStream_t stream, const ChainPlan& plan, Network network, float* scratch,
                                  const Batch* batch, int64_t samples);

}  // namespace engine::cuda::chains
