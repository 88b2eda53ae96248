// The second kernel of data-parallel training: steps of weights by the gradients that teams have left.
#pragma once
#include "cuda/chains/totals.h"
#include "cuda/steps.h"

namespace engine::cuda::chains {

/// Adds the gradients of all teams, in order, and steps the weights by their sums. Its first block adds the sums over
/// the pass, too.
struct SumTeamsAndStep {
  Network net;
  const float* gradients;  // (teams, weights)
  int most_teams, blocks_of_team;

  /// A warp adds the gradients of some of the teams by 32 weights.
  static constexpr int kWarps = kThreads / kWarp;

  int64_t blocks() const { return (net.weights + kWarp - 1) / kWarp; }
  int64_t shared_bytes() const { return kThreads * static_cast<int64_t>(sizeof(float)); }
  static_assert(kThreads * sizeof(float) >= kMaxTotals * sizeof(double));

  __device__ void run(const Batch& batch) const {
    const auto teams = static_cast<int>(SampleDivision(batch.rows, net.max_rows, most_teams).teams);
    const bool divides = net.divided_by == DividedBy::kWeightsOfTeams;
    const double divisor = divides ? total(kind_of_divisor(net), teams * blocks_of_team) : 1.0;
    const double inverse_divisor = divisor == 0.0 ? 0.0 : 1.0 / divisor;
    if (blockIdx.x == 0) add_totals(teams * blocks_of_team, batch.rows, inverse_divisor);
    const int teams_of_warp = (teams + kWarps - 1) / kWarps;
    const int begin = smaller(warp() * teams_of_warp, teams), end = smaller(begin + teams_of_warp, teams);
    float* const of_warps = shared_memory();
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarp; first < net.weights;
         first += static_cast<int64_t>(gridDim.x) * kWarp) {
      const int64_t i = first + lane();
      float sum = 0.0f;
      ENGINE_UNROLL(16)
      for (int team = begin; team < end; ++team) {
        sum = sum + (i < net.weights ? gradients[static_cast<int64_t>(team) * net.weights + i] : 0.0f);
      }
      of_warps[thread()] = sum;
      __syncthreads();
      if (warp() == 0 && i < net.weights) {
        float all = 0.0f;
        ENGINE_UNROLL(8)
        for (int w = 0; w < kWarps; ++w) all = all + of_warps[w * kWarp + lane()];
        step(static_cast<int>(i), static_cast<float>(inverse_divisor) * all, batch);
      }
      __syncthreads();
    }
  }

 private:
  /// Steps weight i of those of all layers.
  __device__ void step(int i, float gradient, const Batch& batch) const {
    int l = 0;
    while (l + 1 < net.layer_count && i >= net.layers[l + 1].first_weight) ++l;
    const DenseLayer& layer = net.layers[l];
    const int of_kernel = layer.inputs * layer.units, of_layer = i - layer.first_weight;
    const bool is_bias = of_layer >= of_kernel;
    const CardWeights& weights = is_bias ? layer.bias : layer.kernel;
    const int at = is_bias ? of_layer - of_kernel : of_layer;
    step_weight<FusedOptimizers>(net.rule, weights, at, formulas::fma(weights.l2_slope, weights.values[at], gradient),
                                 batch);
  }

  /// What so many blocks have left of one kind of sum. All threads of a warp get it.
  __device__ double total(int kind, int blocks) const {
    double sum = 0.0;
    for (int b = lane(); b < blocks; b += kWarp) sum += net.totals[b * kMaxTotals + kind];
    return sum_of_warp(sum);
  }

  __device__ void add_totals(int blocks, int64_t samples, double inverse_divisor) const {
    auto* const totals = reinterpret_cast<double*>(shared_memory());
    for (int kind = warp(); kind < kinds_of_sums(net); kind += kWarps) {
      const double sum = total(kind, blocks);
      if (lane() == 0) totals[kind] = sum;
    }
    __syncthreads();
    add_to_pass(net, samples, inverse_divisor, [&](int kind) { return totals[kind]; });
    __syncthreads();
  }
};

}  // namespace engine::cuda::chains
