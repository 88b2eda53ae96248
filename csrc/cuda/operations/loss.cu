// Losses and metrics of a batch, and the sums over a pass.
#include "cuda/arrays.h"
#include "cuda/elements.h"
#include "cuda/loss_rows.h"
#include "cuda/schedule.h"
#include "graph/operations/loss.h"

namespace engine::cuda {
namespace {

/// losses[b] = the loss of row b, and its gradient
struct LossOfRows {
  const float* x;
  float *y, *dx, *losses;
  int64_t columns;
  Targets targets;
  Loss loss;
  LossParameters parameters;
  Divisor divisor;
  float weight;  // of this output in the sum of all
  const float* sample_weight;
  int64_t max_rows;

  int64_t blocks() const { return blocks_for_warps(targets.groups * max_rows); }
  int64_t shared_bytes() const { return 0; }
  /// The division is made before the loop over rows. Within it, registers would be spilled.
  __device__ void run(const Batch& batch) const {
    const int64_t rows = targets.groups * batch.rows;
    const double by = divisor(rows);
    const float scale = by == 0.0 ? 0.0f : weight / static_cast<float>(by);
    for_each_by_warp(rows, [&](int64_t b) {
      const int64_t target_at = targets.row(batch, b), at = b * columns;
      const TargetRow target = target_row(targets, target_at, columns, parameters.ignored);
      LossRow<kWarp> row{{columns},
                         x + at,
                         y ? y + at : nullptr,
                         dx ? dx + at : nullptr,
                         parameters.smoothing,
                         sample_weight ? scale * sample_weight[target_at] : scale,
                         parameters.values,
                         targets.view.binary};
      const float value = cuda::loss_of_row(loss, row, target);
      if (threadIdx.x % kWarp == 0) losses[b] = value;
    });
  }
};

void schedule_loss(Schedule& schedule, const graph::LossOfRows& op) {
  const int64_t groups = schedule.placement(op.x).groups;
  const int64_t sum = add_sum_of_weights(schedule, op, op.output, op.row_mask, groups);
  schedule.add(op, [&op, sum](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    const LossSpec& spec = memory.training().losses[static_cast<size_t>(op.output)];
    return LossOfRows{memory.scratch(op.x),
                      memory.scratch(op.y_pred),
                      memory.scratch(op.gradient),
                      memory.scratch(op.losses),
                      x.columns,
                      targets_of(memory, op.output, x.groups),
                      op.loss,
                      parameters_of(spec),
                      divisor_of(memory, op.output, op.row_mask, sum),
                      spec.weight,
                      memory.data.targets[static_cast<size_t>(op.output)].sample_weight,
                      memory.schedule.max_rows()};
  });
}

/// The losses of an output join the sums of the pass.
struct AddLosses {
  static constexpr int kSums = 1;

  const float* losses;
  Targets targets;
  RowWeights weights;
  Divisor divisor;
  double weight;  // of the output
  double *loss, *output_loss, *samples;
  bool counts_samples;  // one output counts them for all

  bool is_wanted() const { return true; }
  __device__ int64_t rows(const Batch& batch) const { return targets.groups * batch.rows; }
  __device__ void add(int64_t b, const Batch& batch, double (&sums)[kSums]) const {
    sums[0] += weights(targets, batch, b) * static_cast<double>(losses[b]);
  }
  __device__ void finish(const double (&sums)[kSums], const Batch& batch) const {
    const double by = divisor(rows(batch));
    const double share = by == 0.0 ? 0.0 : static_cast<double>(batch.rows) / by * sums[0];
    *output_loss += share;
    *loss += weight * share;
    if (counts_samples) *samples += static_cast<double>(batch.rows);
  }
};

/// A penalty on weights, or on what passes through a layer, joins the loss of the pass.
struct AddPenalty {
  static constexpr int kSums = 1;

  const float* partial_sums;
  int64_t fixed, of_sample;  // how many there are
  double factor;
  bool per_sample;  // whether the penalty is charged for each sample of the batch
  Divisor divisor;  // of what is charged for samples
  int64_t groups;   // rows of a sample that the divisor counts
  double* loss;

  bool is_wanted() const { return true; }
  __device__ int64_t rows(const Batch& batch) const { return fixed + of_sample * batch.rows; }
  __device__ void add(int64_t i, const Batch&, double (&sums)[kSums]) const {
    sums[0] += static_cast<double>(partial_sums[i]);
  }
  __device__ void finish(const double (&sums)[kSums], const Batch& batch) const {
    const double total = factor * sums[0], by = per_sample ? divisor(groups * batch.rows) : 1.0;
    *loss += !per_sample ? total : by == 0.0 ? 0.0 : total / by * static_cast<double>(batch.rows);
  }
};

void schedule_add_losses(Schedule& schedule, const graph::AddLosses& op) {
  for (size_t i = 0; i < op.losses.size(); ++i) {
    const auto output = static_cast<int>(i);
    const int64_t groups = schedule.placement(op.losses[i]).groups;
    const int64_t sum = add_sum_of_weights(schedule, op, output, op.row_mask[i], groups);
    add_batch_sums(schedule, op, groups * schedule.max_rows(), [&op, i, output, groups, sum](const RunMemory& memory) {
      const LossSpec& spec = memory.training().losses[i];
      double* const totals = memory.totals;
      const TotalsLayout& layout = memory.schedule.totals();
      return AddLosses{memory.scratch(op.losses[i]),
                       targets_of(memory, output, groups),
                       {memory.data.targets[i].sample_weight, memory.scratch(op.row_mask[i]), false, 0},
                       divisor_of(memory, output, op.row_mask[i], sum),
                       static_cast<double>(spec.weight),
                       totals + layout.loss,
                       totals + layout.output_losses + static_cast<int64_t>(i),
                       totals + layout.samples,
                       i == 0};
    });
  }
  const graph::Output& first = schedule.graph().outputs[0];
  const int64_t groups = schedule.placement(first.y_pred).groups;
  const int64_t sum = op.penalties.empty() ? 0 : add_sum_of_weights(schedule, op, 0, first.row_mask, groups);
  for (const graph::PenaltyTerm& penalty : op.penalties) {
    const Placement& sums = schedule.placement(penalty.sums);
    const int64_t count = sums.rows * sums.columns;
    add_batch_sums(schedule, op, count, [&first, penalty, groups, sum, count](const RunMemory& memory) {
      const bool divides = memory.training().losses[0].divides_penalties;
      return AddPenalty{memory.scratch(penalty.sums),
                        count,
                        0,
                        penalty.factor,
                        true,
                        divides ? divisor_of(memory, 0, first.row_mask, sum) : Divisor{0.0, 1.0, nullptr},
                        groups,
                        memory.totals + memory.schedule.totals().loss};
    });
  }
  for (const ValueId value : op.activity_penalties) {
    add_batch_sums(schedule, op, schedule.rows(value), [value](const RunMemory& memory) {
      return AddPenalty{memory.scratch(value), 0, memory.schedule.placement(value).groups,      1.0, false,
                        {0.0, 1.0, nullptr},   1, memory.totals + memory.schedule.totals().loss};
    });
  }
}

// ---- Metrics --------------------------------------------------------------------------------------------------------

/// values[b] = metric(y_pred[b,:], target b)
struct MetricOfRows {
  const float* y_pred;
  float *probabilities, *values;
  int64_t columns;
  Targets targets;
  bool is_loss;
  Metric metric;
  float threshold;  // or k
  Loss loss;
  LossParameters parameters;

  __device__ void operator()(int64_t b, const Batch& batch) const {
    const float* const y = y_pred + b * columns;
    const float value = is_loss ? loss_of_row(batch, b, y)
                                : metric_of_row<kWarp>(metric, threshold, columns, y,
                                                       target_row(targets, targets.row(batch, b), columns, -1));
    if (threadIdx.x % kWarp == 0) values[b] = value;
  }

  __device__ float loss_of_row(const Batch& batch, int64_t b, const float* y) const {
    const TargetRow target = target_row(targets, targets.row(batch, b), columns, parameters.ignored);
    LossRow<kWarp> row{{columns},
                       y,
                       probabilities ? probabilities + b * columns : nullptr,
                       nullptr,
                       parameters.smoothing,
                       1.0f,
                       parameters.values,
                       targets.view.binary};
    return cuda::loss_of_row(loss, row, target);
  }
};

void schedule_metric(Schedule& schedule, const graph::MetricOfRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& y = memory.schedule.placement(op.y_pred);
    const MetricSpec& spec = memory.training().metrics[static_cast<size_t>(op.metric)];
    return for_rows(
        memory.schedule, op.y_pred,
        MetricOfRows{memory.scratch(op.y_pred), memory.scratch(op.probabilities), memory.scratch(op.values), y.columns,
                     targets_of(memory, spec.output, y.groups), spec.kind == MetricSpec::Kind::kLoss, spec.value,
                     spec.threshold, formula(spec.loss), parameters_of(spec.loss)});
  });
}

/// The values of all rows join the metric's sum and weight over the pass.
struct AddMetric {
  static constexpr int kSums = 2;

  const float* values;
  Targets targets;
  RowWeights weights;
  bool by_batch;  // whether there is one value for the batch
  double* state;  // sum, weight

  bool is_wanted() const { return true; }
  __device__ int64_t rows(const Batch& batch) const { return by_batch ? 1 : targets.groups * batch.rows; }
  __device__ void add(int64_t b, const Batch& batch, double (&sums)[kSums]) const {
    const double weight = by_batch ? 1.0 : weights(targets, batch, b);
    sums[0] += weight * static_cast<double>(values[b]);
    sums[1] += weight;
  }
  __device__ void finish(const double (&sums)[kSums], const Batch&) const {
    state[0] += sums[0];
    state[1] += sums[1];
  }
};

/// As in Keras on JAX, training metrics do not see the mask: predictions lose it on their way out of the gradient. And
/// samples that a crossentropy ignores have weight 0 only where there are weights or a mask.
void schedule_add_metric(Schedule& schedule, const graph::AddMetric& op) {
  add_batch_sums(schedule, op, schedule.rows(op.y_pred), [&op](const RunMemory& memory) {
    const MetricSpec& spec = memory.training().metrics[static_cast<size_t>(op.metric)];
    const bool sees_mask = memory.schedule.mode() != graph::Mode::kTrain && spec.masked;
    const float* const mask = sees_mask ? memory.scratch(op.row_mask) : nullptr;
    const float* const weights =
        spec.weighted ? memory.data.targets[static_cast<size_t>(spec.output)].sample_weight : nullptr;
    return AddMetric{memory.scratch(op.values),
                     targets_of(memory, spec.output, memory.schedule.placement(op.y_pred).groups),
                     {weights, mask, (weights || mask) && spec.loss.ignores, spec.loss.ignored},
                     spec.by_batch,
                     memory.totals + memory.schedule.totals().metrics[static_cast<size_t>(op.metric)]};
  });
}

}  // namespace

void add_losses(OperationRegistry& all) {
  all.add<graph::LossOfRows>(schedule_loss);
  all.add<graph::AddLosses>(schedule_add_losses);
  all.add<graph::MetricOfRows>(schedule_metric);
  all.add<graph::AddMetric>(schedule_add_metric);
}

}  // namespace engine::cuda
