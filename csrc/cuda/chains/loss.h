// The loss of a batch, its gradient, and the metrics.
#pragma once
#include "cuda/chains/backward.h"
#include "cuda/chains/totals.h"

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
                             block.shared + block.net.range_sums_at + b * layer.units,
                             nullptr,
                             metric.parameters.smoothing,
                             1.0f,
                             metric.parameters.values,
                             block.net.targets.view.binary};
  return row_loss(metric.loss, row, target_row(targets, b, layer.units, metric.parameters.ignored));
}

/// The metrics of a batch's rows join the sums of the block that counts them.
template <class Team>
__device__ __noinline__ void count_metrics(const Network& network, Team team, int buffer) {
  const Block<Team> block{network, shared_memory(), team};
  __syncwarp();  // the warp that computed the loss of a row counts it, and a thread reads what others have left of it
  const Targets targets = block.targets_in(buffer);
  const int64_t before = block.batch_in(buffer).first_draw;  // samples of the batch that other micro-batches have
  for (int m = 0; m < block.net.metric_count; ++m) {
    const MetricOfKernel& metric = block.net.metrics[m];
    const RowWeights weights = block.weights_in(buffer, metric.weights);
    for_rows(block.rows_to_count(static_cast<int>(block.batch_in(buffer).rows)), [&](int b, bool is_row) {
      const float value = value_of_metric(block, metric, targets, b, is_row);
      if (!is_row || thread() % kThreadsOfRow != 0 || (metric.by_batch && before + b > 0)) return;
      const double weight = metric.by_batch ? 1.0 : weights.of_row(targets, b, b);
      sums_of_row(block)[1 + 2 * m] += weight * static_cast<double>(value);
      sums_of_row(block)[2 + 2 * m] += weight;
    });
  }
}

// ---- The loss -------------------------------------------------------------------------------------------------------

/// Sums the weights that losses are divided by: of a batch that is here, or of all micro-batches until now.
template <class Team>
__device__ inline void sum_divisor_weights(const Block<Team>& block, int buffer) {
  const bool is_of_teams = block.net.divided_by == DividedBy::kWeightsOfTeams;
  if (block.net.divided_by != DividedBy::kWeights && !is_of_teams) return;
  if (warp() == 0) {
    const Targets targets = block.targets_in(buffer);
    const RowWeights weights = block.weights_in(buffer, block.net.divisor_weights);
    auto* const divisor = reinterpret_cast<double*>(block.shared + block.net.divisor_at);
    double sum = 0.0;
    const int rows = static_cast<int>(block.batch_in(buffer).rows);
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
__device__ inline void compute_loss(Block<Team>& block, int buffer, F&& meanwhile) {
  const DenseLayer& layer = block.last();
  const int rows = static_cast<int>(block.batch_in(buffer).rows);
  const Targets targets = block.targets_in(buffer);
  const auto whole = static_cast<double>(block.batch_in(buffer).whole);
  const double by = divisor(block, whole);
  const float scale = by == 0.0 ? 0.0f : block.net.weight / static_cast<float>(by);
  const double factor = by == 0.0 ? 0.0 : by == whole ? 1.0 : whole / by;  // of losses in the sum over the pass
  const RowWeights weights = block.weights_in(buffer, block.net.row_weights);
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
      sums_of_row(block)[0] += factor * weights.of_row(targets, b, b) * static_cast<double>(value);
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
    count_metrics(block.net, block.team, buffer);
    meanwhile();
  };
  if (has_all) {
    __syncthreads();
    count_and_go_on();
  } else {
    gather_rows(block, layer.gradient_at, layer.ld, rows, count_and_go_on);
  }
}

}  // namespace engine::cuda::chains
