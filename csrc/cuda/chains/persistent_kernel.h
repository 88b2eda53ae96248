// Starts the persistent kernel, which trains on many batches.
#pragma once
#include "cuda/execution_choice.h"
#include "cuda/schedule.h"

namespace engine::cuda::chains {

/// Lets the persistent kernel use all shared memory that a block of the current card can have. Returns how many
/// clusters run it at the same time.
ClustersAtOnce prepare_persistent_kernel(const CardLimits& limits);

/// Floats of scratch that the plan needs in memory of the card.
int64_t scratch_of_persistent_kernel(const ChainPlan& plan);

/// Trains on `count` batches. Returns false, and does nothing, where the card refuses to run so many blocks together.
bool launch_persistent_kernel(const Stream& stream, const ChainPlan& plan, Network network, float* scratch,
                              const Batch* batches, int64_t count);

}  // namespace engine::cuda::chains
