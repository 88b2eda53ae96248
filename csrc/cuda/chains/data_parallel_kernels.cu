#include "cuda/chains/data_parallel.h"
#include "cuda/chains/data_parallel_kernels.h"
#include "cuda/chains/sum_teams_and_step.h"
#include "cuda/chains/team_launch.h"

namespace engine::cuda::chains {
namespace {

/// Memory of the card: the totals of all blocks as doubles, and behind them the gradients of all teams.
int64_t floats_of_totals(const ChainPlan& plan) { return 2 * int64_t{plan.most_teams} * plan.blocks * kMaxTotals; }

using Kernel = void (*)(const Network, const Batch*, int, float*);

Kernel kernel_for(TeamKind team) {
  return team == TeamKind::kOneBlock ? sum_gradients<OneBlock> : sum_gradients<Cluster>;
}

}  // namespace

ClustersAtOnce prepare_data_parallel_kernels(const CardLimits& limits) {
  for (const TeamKind team : {TeamKind::kOneBlock, TeamKind::kCluster}) {
    allow_shared_memory(kernel_for(team), limits);
  }
  return clusters_at_once(kernel_for(TeamKind::kCluster), limits);
}

int64_t scratch_of_data_parallel_kernels(const ChainPlan& plan) {
  return floats_of_totals(plan) + int64_t{plan.most_teams} * plan.network.weights;
}

bool launch_data_parallel_kernels(cudaStream_t stream, const ChainPlan& plan, Network network, float* scratch,
                                  const Batch* batch, int64_t samples) {
  const int64_t teams = plan.divide(samples).teams;
  float* const gradients = scratch + floats_of_totals(plan);
  network.totals = reinterpret_cast<double*>(scratch);
  if (network.divided_by == DividedBy::kWeights) network.divided_by = DividedBy::kWeightsOfTeams;
  cudaLaunchConfig_t config = config_of(teams * plan.blocks, network.floats * static_cast<int64_t>(sizeof(float)));
  config.stream = stream;
  cudaLaunchAttribute attribute = cluster_of(plan.blocks);
  config.attrs = &attribute;
  config.numAttrs = plan.team == TeamKind::kCluster ? 1 : 0;
  if (was_refused(cudaLaunchKernelEx(&config, kernel_for(plan.team), network, batch, plan.most_teams, gradients))) {
    return false;
  }
  const SumTeamsAndStep step{network, gradients, plan.most_teams, plan.blocks};
  launch(stream, step, batch, step.blocks(), step.shared_bytes());
  return true;
}

}  // namespace engine::cuda::chains
