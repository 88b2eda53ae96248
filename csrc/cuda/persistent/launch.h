// Starts the persistent kernel.
#pragma once
#include "cuda/execution_choice.h"
#include "cuda/schedule.h"

namespace engine::cuda::persistent {

/// Blocks of the largest cluster that the current card runs; 1 where it has none. Lets the kernels use all shared
/// memory that a block can have.
int largest_cluster(const CardLimits& limits);

/// Floats of scratch that the plan needs in memory of the card.
int64_t scratch_floats(const PersistentPlan& plan);

/// The plan's network with the pointers, targets and formulas of a run. `scratch` is memory of the card.
Network network_of_run(const PersistentPlan& plan, const Chain& chain, const RunMemory& memory, float* scratch);

/// Trains on `count` batches. Returns false, and does nothing, where the card refuses to run so many blocks together.
bool launch(const Stream& stream, const PersistentPlan& plan, const Network& network, const Batch* batches,
            int64_t count);

}  // namespace engine::cuda::persistent
