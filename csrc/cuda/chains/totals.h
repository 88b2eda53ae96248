// Sums over a pass: of losses, metrics, penalties. Threads add to places in shared memory, and when a kernel ends, each
// block leaves its sums in memory of the card, where they are added to those of the pass.
#pragma once
#include "cuda/chains/block.h"

namespace engine::cuda::chains {

/// Sums of the threads that take a row together, of which the first adds to them: the losses, and of each metric the
/// values and their weights.
template <class Team>
__device__ inline double* sums_of_row(const Block<Team>& block) {
  return reinterpret_cast<double*>(block.shared + block.net.sums_at) +
         thread() / kThreadsOfRow * (1 + 2 * block.net.metric_count);
}

/// What each warp has summed of the penalties of all batches.
template <class Team>
__device__ inline double* penalties_of_warps(const Block<Team>& block) {
  return reinterpret_cast<double*>(block.shared + block.net.penalties_at);
}

/// Adds the squares of this block's weights, for a batch of so many samples: of those that several blocks of a team
/// have, one counts them.
template <class Team>
__device__ inline void count_penalties(const Block<Team>& block, double samples) {
  if (!block.net.has_penalties) return;
  for (int l = 0; l < block.net.layer_count; ++l) {
    const DenseLayer& layer = block.net.layers[l];
    const Owned& own = block.owned(layer);
    const auto add = [&](int at, int count, double factor) {
      float sum = 0.0f;
      for_each_of_block(count, [&](int i) { sum = formulas::fma(block.shared[at + i], block.shared[at + i], sum); });
      const double of_warp = sum_of_warp(static_cast<double>(sum));
      if (lane() == 0) penalties_of_warps(block)[warp()] += factor * samples * of_warp;
    };
    if (block.answers_for_kernel(layer) && layer.kernel_penalty != 0.0) {
      add(layer.kernel_at, layer.kernel_floats, layer.kernel_penalty);
    }
    if (block.answers_for_bias(layer) && layer.bias_penalty != 0.0) add(layer.bias_at, own.units, layer.bias_penalty);
  }
}

/// Kinds of sums: the loss, of each metric the values and their weights, the penalties, and the weights that the losses
/// are divided by.
__device__ inline int kinds_of_sums(const Network& net) { return 3 + 2 * net.metric_count; }
__device__ inline int kind_of_penalties(const Network& net) { return kinds_of_sums(net) - 2; }
__device__ inline int kind_of_divisor(const Network& net) { return kinds_of_sums(net) - 1; }

/// At the end of a kernel: leaves the sums of this block's threads in memory of the card.
template <class Team>
__device__ inline void store_totals(const Block<Team>& block) {
  const Network& net = block.net;
  const int kind = thread(), penalties = kind_of_penalties(net);
  __syncthreads();
  if (kind >= kinds_of_sums(net)) return;
  const double* const sums = reinterpret_cast<const double*>(block.shared + net.sums_at);
  double sum = 0.0;
  for (int i = 0; i < kRowsAtOnce && kind < penalties; ++i) sum += sums[i * penalties + kind];
  for (int w = 0; w < kBlockWarps && kind == penalties; ++w) sum += penalties_of_warps(block)[w];
  // All blocks of a team have the same samples.
  const bool counts = kind == kind_of_divisor(net) && block.team.rank() == 0;
  if (counts) sum = *reinterpret_cast<const double*>(block.shared + net.divisor_at);
  net.totals[static_cast<int>(blockIdx.x) * kMaxTotals + kind] = sum;
}

/// Adds the sums of all blocks to those over the pass, by the first threads of a block. total(kind) is the sum of all;
/// Losses are multiplied by `loss_factor`.
template <class F>
__device__ inline void add_to_pass(const Network& net, int64_t samples, double loss_factor, F&& total) {
  const int kind = static_cast<int>(threadIdx.x), penalties = kind_of_penalties(net);
  if (kind >= penalties) return;
  if (kind > 0) {
    net.metrics[(kind - 1) / 2].state[(kind - 1) % 2] += total(kind);
    return;
  }
  const double loss = loss_factor * total(0);
  *net.output_loss += loss;
  *net.loss_total += static_cast<double>(net.weight) * loss + total(penalties);
  *net.samples += static_cast<double>(samples);
}

}  // namespace engine::cuda::chains
