// Losses and metrics of a batch, and the sums over a pass.
#include "graph/operations/loss.h"

#include <numeric>

#include "cpu/metrics.h"
#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

void loss_of_rows(const graph::LossOfRows& op, const ThreadContext& thread) {
  const LossSpec& spec = thread.loss(op.output);
  const TargetView& targets = thread.target_view(op.output);
  const Placement& x = thread.placement(op.x);
  const double divisor = thread.loss_divisor(op.output, x.groups, op.row_mask);
  const float scale = divisor == 0.0 ? 0.0f : spec.weight / static_cast<float>(divisor);
  thread.kernels.loss[index(op.loss)][index(spec.target)](
      {thread.data(op.x), thread.data(op.y_pred), thread.data(op.gradient), x.ld, x.columns,
       thread.targets(op.output, x.groups), targets.sample_weight, scale, spec.label_smoothing, thread.data(op.losses),
       thread.own_rows(op.x), spec.parameters, spec.ignored, targets.binary});
}

Split split_loss(const Scheduler& scheduler, const graph::LossOfRows& op) {
  return scheduler.is_copied(op.x) ? Split::every_thread() : Split::over(kSamples);
}

/// What a metric compares. As in Keras on JAX, training metrics do not see the mask: predictions lose it on their way
/// out of the gradient.
MetricInputs metric_inputs(const ThreadContext& thread, const MetricSpec& metric, ValueId y_pred, ValueId row_mask) {
  const Placement& y = thread.placement(y_pred);
  const TargetView& targets = thread.target_view(metric.output);
  const bool sees_mask = thread.schedule.mode() != graph::Mode::kTrain;
  return {thread.data(y_pred),
          y.ld,
          y.columns,
          thread.targets(metric.output, y.groups),
          thread.loss(metric.output).target,
          targets.sample_weight,
          targets.binary,
          sees_mask ? thread.row_mask(row_mask) : RowMask{}};
}

const MetricSpec& spec_of(const ThreadContext& thread, int metric) {
  return thread.run.training->metrics[static_cast<size_t>(metric)];
}

/// Each metric has one thread that adds its values, so that its sums run in the order of the samples. The losses are
/// those of the first thread.
int owner_of(int metric) { return metric + 1; }

void metric_of_rows(const graph::MetricOfRows& op, const ThreadContext& thread) {
  const MetricSpec& metric = spec_of(thread, op.metric);
  metric_values(thread.kernels, metric, metric_inputs(thread, metric, op.y_pred, kNoValue), thread.own_rows(op.y_pred),
                thread.data(op.probabilities), thread.data(op.values));
}

/// Where every thread has the predictions, the thread that adds the values computes all of them.
Split split_metric(const Scheduler& scheduler, const graph::MetricOfRows& op) {
  return scheduler.is_copied(op.y_pred) ? Split::one_thread(owner_of(op.metric)) : Split::over(kSamples);
}

void add_metric(const graph::AddMetric& op, const ThreadContext& thread) {
  const MetricSpec& metric = spec_of(thread, op.metric);
  add_values(metric, metric_inputs(thread, metric, op.y_pred, op.row_mask), thread.data(op.values),
             thread.batch_rows(op.y_pred), thread.run.totals->metrics[static_cast<size_t>(op.metric)]);
}

Split split_add_metric(const Scheduler&, const graph::AddMetric& op) { return Split::one_thread(owner_of(op.metric)); }

void metric_of_sums(const graph::MetricOfSums& op, const ThreadContext& thread) {
  const MetricSpec& metric = spec_of(thread, op.metric);
  add_metric_sums(thread.kernels, metric, metric_inputs(thread, metric, op.y_pred, op.row_mask),
                  thread.batch_rows(op.y_pred), thread.run.totals->metrics[static_cast<size_t>(op.metric)]);
}

Split split_metric_of_sums(const Scheduler&, const graph::MetricOfSums& op) {
  return Split::one_thread(owner_of(op.metric));
}

/// The penalties on weights, in the order of their sums.
double weight_penalties(const graph::AddLosses& op, const ThreadContext& thread) {
  double total = 0.0;
  for (const graph::PenaltyTerm& penalty : op.penalties) {
    const float* sums = thread.data(penalty.sums);
    total += penalty.factor * std::accumulate(sums, sums + thread.placement(penalty.sums).columns, 0.0);
  }
  return total;
}

double activity_penalties(const graph::AddLosses& op, const ThreadContext& thread) {
  double total = 0.0;
  for (const ValueId value : op.activity_penalties) {
    const float* sums = thread.data(value);
    for (int64_t b = 0; b < thread.batch_rows(value); ++b) total += static_cast<double>(sums[b]);
  }
  return total;
}

void add_batch_losses(const graph::AddLosses& op, const ThreadContext& thread) {
  Totals& totals = *thread.run.totals;
  const auto samples = static_cast<double>(thread.batch.rows);
  double loss = totals.loss;
  for (size_t i = 0; i < op.losses.size(); ++i) {
    const int output = static_cast<int>(i);
    const int64_t groups = thread.placement(op.losses[i]).groups;
    const double divisor = thread.loss_divisor(output, groups, op.row_mask[i]);
    const double share_of_row = divisor == 0.0 ? 0.0 : samples / divisor;
    const double factor = static_cast<double>(thread.loss(output).weight) * share_of_row;
    const float* losses = thread.data(op.losses[i]);
    double own = totals.output_losses[i];
    for (int64_t b = 0; b < thread.batch_rows(op.losses[i]); ++b) {
      const double weight = thread.row_weight(output, groups, op.row_mask[i], b),
                   value = static_cast<double>(losses[b]);
      loss += factor * weight * value;
      own += share_of_row * weight * value;
    }
    totals.output_losses[i] = own;
  }
  totals.samples += samples;
  totals.loss =
      loss + (weight_penalties(op, thread) * thread.penalty_factor() * samples + activity_penalties(op, thread));
}

}  // namespace

void add_losses(OperationRegistry& all) {
  all.add<graph::LossOfRows>(loss_of_rows, split_loss);
  all.add<graph::MetricOfRows>(metric_of_rows, split_metric);
  all.add<graph::AddMetric>(add_metric, split_add_metric);
  all.add<graph::MetricOfSums>(metric_of_sums, split_metric_of_sums);
  all.add<graph::AddLosses>(add_batch_losses, by_first_thread);
}

}  // namespace engine::cpu
