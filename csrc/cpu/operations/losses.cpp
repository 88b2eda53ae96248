// Losses and metrics of a batch, and the sums over a pass.
#include <numeric>

#include "cpu/metrics.h"
#include "cpu/scheduler.h"
#include "graph/operations/loss.h"

namespace engine {
namespace {

void loss_of_rows(const graph::LossOfRows& op, const Share& share) {
  const LossSpec& spec = share.loss(op.output);
  const TargetView& targets = share.target_view(op.output);
  const Placement& x = share.shape(op.x);
  const double divisor = share.loss_divisor(op.output, x.groups, op.counted);
  const float scale = divisor == 0.0 ? 0.0f : spec.weight / static_cast<float>(divisor);
  share.kernels.loss[index(op.loss)][index(spec.target)](
      {share.data(op.x), share.data(op.y_pred), share.data(op.gradient), x.ld, x.columns,
       share.targets(op.output, x.groups), targets.sample_weight, scale, spec.label_smoothing, share.data(op.losses),
       share.rows(op.x), spec.parameters, spec.ignored, targets.binary});
}

Split split_loss(const Scheduler& scheduler, const graph::LossOfRows& op) {
  return scheduler.is_copied(op.x) ? Split::every_thread() : Split::over(kSamples);
}

/// What a metric compares. As in Keras on JAX, training metrics do not see the mask: predictions lose it on their way
/// out of the gradient.
Judged judged(const Share& share, const MetricSpec& metric, ValueId y_pred, ValueId counted) {
  const Placement& y = share.shape(y_pred);
  const TargetView& targets = share.target_view(metric.output);
  const bool sees_mask = share.schedule.mode() != graph::Mode::kTrain;
  return {share.data(y_pred),
          y.ld,
          y.columns,
          share.targets(metric.output, y.groups),
          share.loss(metric.output).target,
          targets.sample_weight,
          targets.binary,
          sees_mask ? share.counted(counted) : Counted{}};
}

const MetricSpec& spec_of(const Share& share, int metric) {
  return share.run.training->metrics[static_cast<size_t>(metric)];
}

/// Each metric has one thread that adds its values, so that its sums run in the order of the samples. The losses are
/// those of the first thread.
int owner_of(int metric) { return metric + 1; }

void metric_of_rows(const graph::MetricOfRows& op, const Share& share) {
  const MetricSpec& metric = spec_of(share, op.metric);
  metric_values(share.kernels, metric, judged(share, metric, op.y_pred, kNoValue), share.rows(op.y_pred),
                share.data(op.probabilities), share.data(op.values));
}

/// Where every thread has the predictions, the thread that adds the values computes all of them.
Split split_metric(const Scheduler& scheduler, const graph::MetricOfRows& op) {
  return scheduler.is_copied(op.y_pred) ? Split::one_thread(owner_of(op.metric)) : Split::over(kSamples);
}

void add_metric(const graph::AddMetric& op, const Share& share) {
  const MetricSpec& metric = spec_of(share, op.metric);
  add_values(metric, judged(share, metric, op.y_pred, op.counted), share.data(op.values), share.batch_rows(op.y_pred),
             share.run.totals->metrics[static_cast<size_t>(op.metric)]);
}

Split split_add_metric(const Scheduler&, const graph::AddMetric& op) { return Split::one_thread(owner_of(op.metric)); }

void metric_of_sums(const graph::MetricOfSums& op, const Share& share) {
  const MetricSpec& metric = spec_of(share, op.metric);
  add_metric_sums(share.kernels, metric, judged(share, metric, op.y_pred, op.counted), share.batch_rows(op.y_pred),
                  share.run.totals->metrics[static_cast<size_t>(op.metric)]);
}

Split split_metric_of_sums(const Scheduler&, const graph::MetricOfSums& op) {
  return Split::one_thread(owner_of(op.metric));
}

/// The penalties on weights, in the order of their sums.
double weight_penalties(const graph::AddLosses& op, const Share& share) {
  double total = 0.0;
  for (const graph::PenaltyTerm& penalty : op.penalties) {
    const float* sums = share.data(penalty.sums);
    total += penalty.factor * std::accumulate(sums, sums + share.shape(penalty.sums).columns, 0.0);
  }
  return total;
}

double activity_penalties(const graph::AddLosses& op, const Share& share) {
  double total = 0.0;
  for (const ValueId value : op.activity_penalties) {
    const float* sums = share.data(value);
    for (int64_t b = 0; b < share.batch_rows(value); ++b) total += static_cast<double>(sums[b]);
  }
  return total;
}

void add_batch_losses(const graph::AddLosses& op, const Share& share) {
  Totals& totals = *share.run.totals;
  const auto samples = static_cast<double>(share.batch.rows);
  double loss = totals.loss;
  for (size_t i = 0; i < op.losses.size(); ++i) {
    const int output = static_cast<int>(i);
    const int64_t groups = share.shape(op.losses[i]).groups;
    const double divisor = share.loss_divisor(output, groups, op.counted[i]);
    const double share_of_row = divisor == 0.0 ? 0.0 : samples / divisor;
    const double factor = static_cast<double>(share.loss(output).weight) * share_of_row;
    const float* losses = share.data(op.losses[i]);
    double own = totals.output_losses[i];
    for (int64_t b = 0; b < share.batch_rows(op.losses[i]); ++b) {
      const double weight = share.row_weight(output, groups, op.counted[i], b), value = static_cast<double>(losses[b]);
      loss += factor * weight * value;
      own += share_of_row * weight * value;
    }
    totals.output_losses[i] = own;
  }
  totals.samples += samples;
  totals.loss = loss + (weight_penalties(op, share) * share.penalty_factor() * samples + activity_penalties(op, share));
}

}  // namespace

void add_losses(Implementations& all) {
  all.add<graph::LossOfRows>(loss_of_rows, split_loss);
  all.add<graph::MetricOfRows>(metric_of_rows, split_metric);
  all.add<graph::AddMetric>(add_metric, split_add_metric);
  all.add<graph::MetricOfSums>(metric_of_sums, split_metric_of_sums);
  all.add<graph::AddLosses>(add_batch_losses, by_first_thread);
}

}  // namespace engine
