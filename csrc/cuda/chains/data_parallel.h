// The kernel of data-parallel training: teams of blocks divide the samples of a batch. Each team has all weights in its
// shared memory, and goes through micro-batches, as many samples as fit there. It leaves the gradient that it has
// summed over them in memory of the card. From these, the kernel of sum_teams_and_step.h steps the weights.
#pragma once
#include "cuda/chains/bring.h"
#include "cuda/chains/pass.h"
#include "cuda/chains/weight_memory.h"

namespace engine::cuda::chains {

/// The gradient that a team sums, in memory of the card: by the weights of all layers, one after the other. Its first
/// micro-batch writes it, and the others add to it. A barrier lies between two micro-batches, since
/// different threads may add to the same number.
struct GradientOfTeam {
  float* numbers;
  bool is_first;

  __device__ void add(int64_t weight, float gradient) const {
    numbers[weight] = is_first ? gradient : numbers[weight] + gradient;
  }
};

/// Adds the gradients of a micro-batch by the weights of layer l. Of what all blocks of a team have, the first adds it.
template <class Team>
__device__ inline void add_gradients(const Block<Team>& block, int l, int buffer, const GradientOfTeam& sums) {
  const DenseLayer& layer = block.net.layers[l];
  const Owned& own = block.owned(layer);
  const int rows = static_cast<int>(block.batch_in(buffer).rows);
  if (block.answers_for_kernel(layer)) {
    block.with_inputs(l, buffer, [&](const auto& x, const QuadOrder& order) {
      for_kernel_gradients(block, layer, x, order, rows, worker_of(l), [&](int q, int n, const float4& gradient) {
        if (n >= own.units) return;
        float by_input[kQuad];
        spread(gradient, by_input);
        const int64_t at = layer.first_weight + (own.first_input + q * kQuad) * layer.units + own.first_unit + n;
        ENGINE_UNROLL(4)
        for (int j = 0; j < kQuad; ++j) {
          if (q * kQuad + j < own.inputs) sums.add(at + j * layer.units, by_input[j]);
        }
      });
    });
  }
  if (block.answers_for_bias(layer)) {
    const int64_t first = layer.first_weight + layer.inputs * layer.units + own.first_unit;
    for_bias_gradients(block, l, rows, [&](int n, float gradient) { sums.add(first + n, gradient); });
  }
}

/// Goes through all micro-batches of a team.
template <class Team>
__device__ inline void sum_gradients_over(Block<Team>& block, const MicroBatches& micro_batches, float* gradient) {
  const Network& net = block.net;
  const auto start = [&](int n) { start_bringing(net, block.team, micro_batches, n); };
  const auto finish = [&](int n) { finish_bringing(net, block.team, n, micro_batches.count); };
  announce_first_batch(block, micro_batches);
  start(0);
  start_loading_weights(block, 0);
  finish(0);
  __syncthreads();
  const bool counts_penalties = micro_batches.first == 0;  // the first team does
  if (counts_penalties) count_penalties(block, static_cast<double>(micro_batches.batch->rows));
  const bool brings_ahead = net.batch_buffers == 2;
  for (int i = 0; i < micro_batches.count; ++i) {
    const int buffer = block.buffer_of(i);
    if (brings_ahead) start(i + 1);
    forward_and_backward(block, buffer, [] {}, [] {});
    for (int l = 0; l < net.layer_count; ++l) add_gradients(block, l, buffer, {gradient, i == 0});
    __syncthreads();
    if (!brings_ahead) start(i + 1);
    finish(i + 1);
    __syncthreads();
  }
}

/// Leaves the gradients (teams, weights) of a batch, and the totals of all blocks. Each team has as many neighbouring
/// blocks of the grid as `Team` says, and its samples are those of `SampleDivision`.
template <class Team>
__global__ void __launch_bounds__(kBlockThreads, 1)
    sum_gradients(const __grid_constant__ Network network, const Batch* batch, int most_teams, float* gradients) {
  Block<Team> block{network, shared_memory(), Team(nullptr)};
  const SampleDivision division(batch->rows, network.max_rows, most_teams);
  const int64_t team_index = blockIdx.x / block.team.blocks(), first = team_index * division.samples_of_team;
  const int64_t left = batch->rows - first;
  const int64_t samples = left < division.samples_of_team ? left : division.samples_of_team;
  const auto count = static_cast<int>((samples + network.max_rows - 1) / network.max_rows);
  block.prepare();
  sum_gradients_over(block, MicroBatches{batch, first, first + samples, network.max_rows, count},
                     gradients + team_index * network.weights);
  store_totals(block);
  // Others may still read the shared memory of this block.
  block.team.arrive();
  block.team.wait();
}

static_assert(sizeof(Network) + 2 * sizeof(void*) + sizeof(int64_t) <= kMaxArgumentBytes);

}  // namespace engine::cuda::chains
