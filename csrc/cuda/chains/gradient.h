// The data-parallel kernel: teams of blocks divide the samples of a batch. Each team has all weights in its shared
// memory, and goes through micro-batches, as many samples as fit there. It leaves the gradient that it has summed over
// them in memory of the card, from which `StepByTeams` (step_by_teams.h) steps the weights.
//
// How samples are divided depends on their number and on the shared memory of a block. So the bits do not depend on the
// number of multiprocessors.
#pragma once
#include "cuda/chains/bring.h"
#include "cuda/chains/loss.h"
#include "cuda/chains/weight_memory.h"

namespace engine::cuda::chains {

/// The gradient that a team sums, in memory of the card: by the weights of all layers, one after the other. Its first
/// micro-batch writes it, and the others add to it. Between two micro-batches lies a barrier, as another thread may add
/// to a number than has written it.
struct GradientOfTeam {
  float* numbers;
  bool is_first;

  __device__ void add(int64_t weight, float gradient) const {
    numbers[weight] = is_first ? gradient : numbers[weight] + gradient;
  }
};

/// Adds the gradients of a micro-batch by the weights of layer l. What several blocks of a team have, the first adds.
template <class Team>
__device__ inline void add_gradients(const Block<Team>& block, int l, int slot, const GradientOfTeam& sums) {
  const DenseLayer& layer = block.net.layers[l];
  const Share& own = block.share(layer);
  const int rows = static_cast<int>(block.batch_in(slot).rows);
  const bool is_first_block = block.team.rank() == 0;
  if (layer.split != Split::kNone || is_first_block) {
    block.with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
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
  if (layer.split == Split::kColumns || is_first_block) {
    const int64_t first = layer.first_weight + layer.inputs * layer.units + own.first_unit;
    for_bias_gradients(block, l, rows, [&](int n, float gradient) { sums.add(first + n, gradient); });
  }
}

/// The gradient of a micro-batch by the sums of all layers.
template <class Team>
__device__ inline void forward_and_backward(Block<Team>& block, int slot) {
  for (int l = 0; l < block.net.layer_count; ++l) {
    if (block.net.layers[l].split != Split::kInputs) {
      forward_alone(block, l, slot);
      continue;
    }
    compute_terms(block, l, slot);
    block.team.arrive_with_shared();
    block.team.wait();
    take_sums(block, l, slot);
  }
  clear_gradients_behind(block, static_cast<int>(block.batch_in(slot).rows));
  sum_divisor_weights(block, slot);
  compute_loss(block, slot, [] {});
  for (int l = block.net.layer_count - 1; l > 0; --l) backpropagate(block, l, slot);
}

template <class Team>
__global__ void __launch_bounds__(kBlockThreads, 1)
    sum_gradients(const __grid_constant__ Network network, const Batch* batch, int most_teams, float* gradients) {
  Block<Team> block{network, shared_memory(), Team(nullptr)};
  const int64_t team = blockIdx.x / block.team.blocks();
  const int64_t rows_of_team = micro_batches_of_team(batch->rows, network.max_rows, most_teams) * network.max_rows;
  const int64_t first = team * rows_of_team, left = batch->rows - first;
  const int64_t rows = left < rows_of_team ? left : rows_of_team;
  const MicroBatches micro_batches{batch, first, first + rows, network.max_rows,
                                   static_cast<int>((rows + network.max_rows - 1) / network.max_rows)};
  prepare(block);
  announce_first_batch(block, micro_batches);
  start_bringing(network, block.team, micro_batches, 0);
  start_loading_weights(block, 0);
  finish_bringing(network, block.team, 0, micro_batches.count);
  __syncthreads();
  if (team == 0) count_penalties(block, static_cast<double>(batch->rows));
  const bool brings_ahead = network.batch_slots == 2;
  for (int i = 0; i < micro_batches.count; ++i) {
    const int slot = block.slot_of(i);
    if (brings_ahead) start_bringing(network, block.team, micro_batches, i + 1);
    forward_and_backward(block, slot);
    for (int l = 0; l < network.layer_count; ++l) {
      add_gradients(block, l, slot, {gradients + team * network.weights, i == 0});
    }
    __syncthreads();
    if (!brings_ahead) start_bringing(network, block.team, micro_batches, i + 1);
    finish_bringing(network, block.team, i + 1, micro_batches.count);
    __syncthreads();
  }
  store_totals(block);
  // Others may still read the shared memory of this block.
  block.team.arrive();
  block.team.wait();
}

static_assert(sizeof(Network) + 2 * sizeof(void*) + sizeof(int64_t) <= kMaxArgumentBytes);

}  // namespace engine::cuda::chains
