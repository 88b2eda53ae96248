// The loss of a batch, its gradient, the metrics, and their sums over a pass.
#pragma once
#include "cuda/persistent/backward.h"

namespace engine::cuda::persistent {

__device__ __noinline__ float row_loss(Loss loss, LossRow<kThreadsOfRow>& row, const TargetRow& target) {
  return loss_of_row(loss, row, target);
}

// ---- Metrics --------------------------------------------------------------------------------------------------------

template <class Team>
__device__ inline float value_of_metric(const Block<Team>& block, const MetricOfKernel& metric, const Targets& targets,
                                        int b, bool is_row) {
  const DenseLayer& layer = block.last();
  const float* const y = block.net.keeps_probabilities ? block.shared + block.net.probabilities_at + b * layer.units
                                                       : block.shared + layer.out_at + b * layer.ld_out;
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
  for (int m = 0; m < block.net.metric_count; ++m) {
    const MetricOfKernel& metric = block.net.metrics[m];
    const RowWeights weights = block.weights_in(slot, metric.weights);
    for_rows(block.rows_to_count(static_cast<int>(block.batch_in(slot).rows)), [&](int b, bool is_row) {
      const float value = value_of_metric(block, metric, targets, b, is_row);
      if (!is_row || thread() % kThreadsOfRow != 0 || (metric.by_batch && b > 0)) return;
      const double weight = metric.by_batch ? 1.0 : weights.of_row(targets, b, b);
      sums_of_thread(block)[1 + 2 * m] += weight * static_cast<double>(value);
      sums_of_thread(block)[2 + 2 * m] += weight;
    });
  }
}

// ---- The loss -------------------------------------------------------------------------------------------------------

/// What the losses are divided by.
template <class Team>
__device__ inline double divisor(const Block<Team>& block, int rows) {
  if (block.net.fixed_divisor != 0.0) return block.net.fixed_divisor;
  return block.net.divisor_weights.are_equal() ? rows
                                               : *reinterpret_cast<const double*>(block.shared + block.net.divisor_at);
}

template <class Team>
__device__ inline void sum_divisor_weights(const Block<Team>& block, int slot) {
  if (block.net.fixed_divisor != 0.0 || block.net.divisor_weights.are_equal()) return;
  if (warp() == 0) {
    const Targets targets = block.targets_in(slot);
    const RowWeights weights = block.weights_in(slot, block.net.divisor_weights);
    double sum = 0.0;
    const int rows = static_cast<int>(block.batch_in(slot).rows);
    for (int b = lane(); b < rows; b += kWarp) sum += weights.of_row(targets, b, b);
    sum = sum_of_warp(sum);
    if (lane() == 0) *reinterpret_cast<double*>(block.shared + block.net.divisor_at) = sum;
  }
  __syncthreads();
}

/// The losses of the rows whose outputs this block has, and in all blocks the gradient by the sums of the last layer.
/// Counts the metrics and calls `meanwhile` while it waits for the others.
template <class Team, class F>
__device__ inline void compute_loss(Block<Team>& block, int slot, F&& meanwhile) {
  const DenseLayer& layer = block.last();
  const int rows = static_cast<int>(block.batch_in(slot).rows);
  sum_divisor_weights(block, slot);
  const Targets targets = block.targets_in(slot);
  const double by = divisor(block, rows);
  const float scale = by == 0.0 ? 0.0f : block.net.weight / static_cast<float>(by);
  const double share = by == 0.0 ? 0.0 : by == rows ? 1.0 : rows / by;
  const RowWeights weights = block.weights_in(slot, block.net.row_weights);
  const bool has_all = layer.split != Split::kInputs;
  const Range counted = block.rows_to_count(rows);
  for_rows(has_all ? Range{0, rows} : block.rows_to_add(rows), [&](int b, bool is_row) {
    const float own = block.net.targets.view.sample_weight ? scale * targets.view.sample_weight[b] : scale;
    float* const gradient = block.shared + layer.gradient_at + b * layer.padded_units;
    LossRow<kThreadsOfRow> row{
        {is_row ? layer.units : 0},
        block.shared + layer.out_at + b * layer.ld_out,
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
      row.for_columns(
          [&](int64_t n) { gradient[n] = backward_through_stages(block, layer, b, static_cast<int>(n), gradient[n]); });
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
    gather_rows(block, layer.gradient_at, layer.padded_units, rows, count_and_go_on);
  }
}

// ---- Sums over the pass ---------------------------------------------------------------------------------------------

/// Adds the squares of this thread's weights: of those that several blocks have, one counts them.
template <class Team>
__device__ inline void count_penalties(Block<Team>& block, int slot) {
  if (!block.net.has_penalties) return;
  const auto rows = static_cast<double>(block.batch_in(slot).rows);
  for (int l = 0; l < block.net.layer_count; ++l) {
    const DenseLayer& layer = block.net.layers[l];
    const Share& own = block.share(layer);
    const auto add = [&](int at, int count, double factor) {
      float sum = 0.0f;
      for_each_of_block(count, [&](int i) { sum = formulas::fma(block.shared[at + i], block.shared[at + i], sum); });
      block.penalty_share += factor * rows * static_cast<double>(sum);
    };
    const bool kernel = layer.split != Split::kNone || block.team.rank() == 0;
    const bool bias = layer.split == Split::kColumns || block.team.rank() == 0;
    if (kernel && layer.kernel_penalty != 0.0) {
      add(layer.kernel_at, layer.kernel_floats, layer.kernel_penalty);
    }
    if (bias && layer.bias_penalty != 0.0) add(layer.bias_at, own.units, layer.bias_penalty);
  }
}

/// At the end of the kernel: the sums of all threads of all blocks join those over the pass, in memory of the card.
template <class Team>
__device__ inline void add_totals(Block<Team>& block, int64_t samples) {
  const Network& net = block.net;
  const int kinds = 1 + 2 * net.metric_count, penalties = kinds;
  auto* const of_warps = reinterpret_cast<double*>(block.shared + net.partial_sums_at);
  const double of_warp = sum_of_warp(block.penalty_share);
  if (lane() == 0) of_warps[warp()] = of_warp;
  __syncthreads();
  if (thread() <= kinds) {
    const double* const sums = reinterpret_cast<const double*>(block.shared + net.sums_at);
    double sum = 0.0;
    for (int i = 0; i < kRowsAtOnce && thread() < kinds; ++i) sum += sums[i * kinds + thread()];
    for (int w = 0; w < kBlockWarps && thread() == penalties; ++w) sum += of_warps[w];
    net.totals[block.team.rank() * kMostTotals + thread()] = sum;
  }
  block.team.arrive();
  block.team.wait();
  if (block.team.rank() != 0 || thread() >= kinds) return;
  const auto total = [&](int kind) {
    double sum = 0.0;
    for (int rank = 0; rank < block.team.blocks(); ++rank) sum += net.totals[rank * kMostTotals + kind];
    return sum;
  };
  if (thread() > 0) {
    net.metrics[(thread() - 1) / 2].state[(thread() - 1) % 2] += total(thread());
    return;
  }
  *net.output_loss += total(0);
  *net.loss_total += static_cast<double>(net.weight) * total(0) + total(penalties);
  *net.samples += static_cast<double>(samples);
}

}  // namespace engine::cuda::persistent
