// The loss of a batch, its gradient, the metrics, and their sums over a pass.
#pragma once
#include "cuda/chains/backward.h"

namespace engine::cuda::chains {

__device__ __noinline__ inline float row_loss(Loss loss, LossRow<kThreadsOfRow>& row, const TargetRow& target) {
  return loss_of_row(loss, row, target);
}

// ---- Metrics --------------------------------------------------------------------------------------------------------

template <class Team>
__device__ inline float value_of_metric(const Block<Team>& block, const MetricOfKernel& metric, const Targets& targets,
                                        int b, bool is_row) {
  const DenseLayer& layer = block.last();
  const float* const y = block.net.keeps_probabilities ? block.shared + block.net.probabilities_at + b * layer.units
                                                       : block.shared + layer.out_at + b * layer.ld;
  const int columns = is_row ? layer.units : 0;
  if (!metric.is_loss) {
    return metric_of_row<kThreadsOfRow>(metric.metric, metric.threshold, columns, y,
                                        target_row(targets, b, layer.units, -1));
  }
  LossRow<kThreadsOfRow> row{{columns},
                             y,
                             block.shared + block.net.partial_sums_at + b * layer.units,
                             nullptr,
                             metric.parameters.smoothing,
                             1.0f,
                             metric.parameters.values,
                             block.net.targets.view.binary};
  return row_loss(metric.loss, row, target_row(targets, b, layer.units, metric.parameters.ignored));
}

/// What this thread has summed over the rows that it was the first thread of: the losses, and of each metric the
/// values and their weights. They join the sums over the pass when the kernel ends.
template <class Team>
__device__ inline double* sums_of_thread(const Block<Team>& block) {
  return reinterpret_cast<double*>(block.shared + block.net.sums_at) +
         thread() / kThreadsOfRow * (1 + 2 * block.net.metric_count);
}

/// The metrics of a batch's rows join the sums of the block that counts them.
template <class Team>
__device__ __noinline__ void count_metrics(const Network& network, Team team, int slot) {
  const Block<Team> block{network, shared_memory(), team};
  __syncwarp();  // the warp that computed the loss of a row counts it, and a thread reads what others have left of it
  const Targets targets = block.targets_in(slot);
  const int64_t before = block.batch_in(slot).first_draw;  // samples of the batch that other micro-batches have
  for (int m = 0; m < block.net.metric_count; ++m) {
    const MetricOfKernel& metric = block.net.metrics[m];
    const RowWeights weights = block.weights_in(slot, metric.weights);
    for_rows(block.rows_to_count(static_cast<int>(block.batch_in(slot).rows)), [&](int b, bool is_row) {
      const float value = value_of_metric(block, metric, targets, b, is_row);
      if (!is_row || thread() % kThreadsOfRow != 0 || (metric.by_batch && before + b > 0)) return;
      const double weight = metric.by_batch ? 1.0 : weights.of_row(targets, b, b);
      sums_of_thread(block)[1 + 2 * m] += weight * static_cast<double>(value);
      sums_of_thread(block)[2 + 2 * m] += weight;
    });
  }
}

// ---- The loss -------------------------------------------------------------------------------------------------------

/// Sums the weights that losses are divided by: of a batch that is here, or of all micro-batches until now.
template <class Team>
__device__ inline void sum_divisor_weights(const Block<Team>& block, int slot) {
  const bool is_of_teams = block.net.divided_by == DividedBy::kWeightsOfTeams;
  if (block.net.divided_by != DividedBy::kWeights && !is_of_teams) return;
  if (warp() == 0) {
    const Targets targets = block.targets_in(slot);
    const RowWeights weights = block.weights_in(slot, block.net.divisor_weights);
    auto* const divisor = reinterpret_cast<double*>(block.shared + block.net.divisor_at);
    double sum = 0.0;
    const int rows = static_cast<int>(block.batch_in(slot).rows);
    for (int b = lane(); b < rows; b += kWarp) sum += weights.of_row(targets, b, b);
    sum = sum_of_warp(sum);
    if (lane() == 0) *divisor = is_of_teams ? *divisor + sum : sum;
  }
  __syncthreads();
}

/// What the losses are divided by, in a batch of so many samples.
template <class Team>
__device__ inline double divisor(const Block<Team>& block, double samples) {
  switch (block.net.divided_by) {
    case DividedBy::kSamples:
      return samples;
    case DividedBy::kWeights:
      return *reinterpret_cast<const double*>(block.shared + block.net.divisor_at);
    case DividedBy::kOne:
    case DividedBy::kWeightsOfTeams:
      break;
  }
  return 1.0;
}

/// The losses of the rows whose outputs this block has, and in all blocks the gradient by the sums of the last layer.
/// Counts the metrics and calls `meanwhile` while it waits for the others.
template <class Team, class F>
__device__ inline void compute_loss(Block<Team>& block, int slot, F&& meanwhile) {
  const DenseLayer& layer = block.last();
  const int rows = static_cast<int>(block.batch_in(slot).rows);
  const Targets targets = block.targets_in(slot);
  const auto whole = static_cast<double>(block.batch_in(slot).whole);
  const double by = divisor(block, whole);
  const float scale = by == 0.0 ? 0.0f : block.net.weight / static_cast<float>(by);
  const double share = by == 0.0 ? 0.0 : by == whole ? 1.0 : whole / by;
  const RowWeights weights = block.weights_in(slot, block.net.row_weights);
  const bool has_all = layer.split != Split::kInputs;
  const Range counted = block.rows_to_count(rows);
  for_rows(has_all ? Range{0, rows} : block.rows_to_add(rows), [&](int b, bool is_row) {
    const float own = block.net.targets.view.sample_weight ? scale * targets.view.sample_weight[b] : scale;
    float* const gradient = block.shared + layer.gradient_at + b * layer.ld;
    LossRow<kThreadsOfRow> row{
        {is_row ? layer.units : 0},
        block.shared + layer.out_at + b * layer.ld,
        block.net.keeps_probabilities ? block.shared + block.net.probabilities_at + b * layer.units : nullptr,
        gradient,
        block.net.loss_parameters.smoothing,
        own,
        block.net.loss_parameters.values,
        block.net.targets.view.binary};
    const float value =
        row_loss(block.net.loss, row, target_row(targets, b, layer.units, block.net.loss_parameters.ignored));
    if (is_row && counted.has(b) && thread() % kThreadsOfRow == 0) {
      sums_of_thread(block)[0] += share * weights.of_row(targets, b, b) * static_cast<double>(value);
    }
    if (layer.stage_count > 0) {
      row.for_columns([&](int64_t n) {
        float dy[] = {gradient[n]};
        backward_through_stages(block, layer, b, static_cast<int>(n), dy);
        gradient[n] = dy[0];
      });
    }
  });
  const auto count_and_go_on = [&] {
    count_metrics(block.net, block.team, slot);
    meanwhile();
  };
  if (has_all) {
    __syncthreads();
    count_and_go_on();
  } else {
    gather_rows(block, layer.gradient_at, layer.ld, rows, count_and_go_on);
  }
}

// ---- Sums over the pass ---------------------------------------------------------------------------------------------

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
    const Share& own = block.share(layer);
    const auto add = [&](int at, int count, double factor) {
      float sum = 0.0f;
      for_each_of_block(count, [&](int i) { sum = formulas::fma(block.shared[at + i], block.shared[at + i], sum); });
      const double of_warp = sum_of_warp(static_cast<double>(sum));
      if (lane() == 0) penalties_of_warps(block)[warp()] += factor * samples * of_warp;
    };
    const bool kernel = layer.split != Split::kNone || block.team.rank() == 0;
    const bool bias = layer.split == Split::kColumns || block.team.rank() == 0;
    if (kernel && layer.kernel_penalty != 0.0) {
      add(layer.kernel_at, layer.kernel_floats, layer.kernel_penalty);
    }
    if (bias && layer.bias_penalty != 0.0) add(layer.bias_at, own.units, layer.bias_penalty);
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
  net.totals[static_cast<int>(blockIdx.x) * kMostTotals + kind] = sum;
}

/// Adds the sums of all blocks to those over the pass, by the first threads of a block. total(kind) is the sum of all;
/// `share` is what a loss of 1 counts.
template <class F>
__device__ inline void add_to_pass(const Network& net, int64_t samples, double share, F&& total) {
  const int kind = static_cast<int>(threadIdx.x), penalties = kind_of_penalties(net);
  if (kind >= penalties) return;
  if (kind > 0) {
    net.metrics[(kind - 1) / 2].state[(kind - 1) % 2] += total(kind);
    return;
  }
  const double loss = share * total(0);
  *net.output_loss += loss;
  *net.loss_total += static_cast<double>(net.weight) * loss + total(penalties);
  *net.samples += static_cast<double>(samples);
}

}  // namespace engine::cuda::chains
