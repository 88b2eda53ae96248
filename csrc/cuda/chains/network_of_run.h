// A planned network with the memory of a run.
#pragma once
#include "cuda/chains/chain.h"
#include "cuda/chains/plan.h"
#include "cuda/schedule.h"

namespace engine::cuda::chains {

/// The plan's network with the pointers, targets and formulas of a run. Its scratch is still missing.
Network network_of_run(const ChainPlan& plan, const Chain& chain, const RunMemory& memory);

}  // namespace engine::cuda::chains
