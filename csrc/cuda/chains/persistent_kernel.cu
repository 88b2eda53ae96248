#include "cuda/chains/persistent.h"
#include "cuda/chains/persistent_kernel.h"
#include "cuda/chains/team_launch.h"

namespace engine::cuda::chains {
namespace {

/// Memory of the card behind each other: the partial sums that blocks of a grid exchange, their arrivals, their totals.
struct Scratch {
  explicit Scratch(const ChainPlan& plan) {
    const bool is_grid = plan.team == TeamKind::kGrid;
    arrivals = is_grid ? 2 * int64_t{plan.network.exchange_floats} : 0;
    totals = arrivals + kQuad;  // doubles
    floats = totals + 2 * int64_t{plan.blocks} * kMaxTotals;
  }
  int64_t arrivals, totals, floats;
};

using Kernel = void (*)(const Network, const Batch*, int);

Kernel kernel_for(TeamKind team) {
  switch (team) {
    case TeamKind::kOneBlock:
      return train<OneBlock>;
    case TeamKind::kCluster:
      return train<Cluster>;
    case TeamKind::kGrid:
      break;
  }
  return train<Grid>;
}

}  // namespace

ClustersAtOnce prepare_persistent_kernel(const CardLimits& limits) {
  for (const TeamKind team : {TeamKind::kOneBlock, TeamKind::kCluster, TeamKind::kGrid}) {
    allow_shared_memory(kernel_for(team), limits);
  }
  return clusters_at_once(kernel_for(TeamKind::kCluster), limits);
}

int64_t scratch_of_persistent_kernel(const ChainPlan& plan) { return Scratch(plan).floats; }

bool launch_persistent_kernel(const Stream& stream, const ChainPlan& plan, Network network, float* scratch,
                              const Batch* batches, int64_t count) {
  const Scratch places(plan);
  network.exchange = scratch;
  network.arrivals = reinterpret_cast<unsigned*>(scratch + places.arrivals);
  network.totals = reinterpret_cast<double*>(scratch + places.totals);
  cudaLaunchConfig_t config = config_of(plan.blocks, network.floats * static_cast<int64_t>(sizeof(float)));
  config.stream = stream.get();
  cudaLaunchAttribute attribute = {};
  config.attrs = &attribute;
  config.numAttrs = plan.team == TeamKind::kOneBlock ? 0 : 1;
  if (plan.team == TeamKind::kCluster) attribute = cluster_of(plan.blocks);
  if (plan.team == TeamKind::kGrid) {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    stream.fill_zeros(network.arrivals, sizeof(unsigned));
  }
  return !was_refused(cudaLaunchKernelEx(&config, kernel_for(plan.team), network, batches, static_cast<int>(count)));
}

}  // namespace engine::cuda::chains
