// What a batch is worth: its loss, its metrics, and the sums over the pass.
#include "cpu/steps.h"

namespace engine {

Counted StepRunner::counted() const {
  if (plan_.counted < 0) return {};
  return {data(plan_.counted), shape(plan_.counted).ld, shape(plan_.counted).columns};
}

double StepRunner::row_weight(const Batch& batch, int64_t b) const {
  const float* weights = frame_.data.sample_weight;
  return counted().at(b) * (weights ? static_cast<double>(weights[targets(batch).row(b)]) : 1.0);
}

int64_t StepRunner::output_rows(const Batch& batch) const { return batch.rows * frame_.model->output_groups; }

double StepRunner::loss_divisor(const Batch& batch) const {
  const LossSpec& loss = frame_.training->loss;
  if (loss.reduction == Reduction::kSum) return 1.0;
  const bool by_weight = loss.reduction == Reduction::kWeightedMean && frame_.data.sample_weight;
  const Counted rows = counted();
  if (!by_weight && !loss.ignores && !rows.values) return static_cast<double>(output_rows(batch));
  double sum = 0.0;
  for (int64_t b = 0; b < output_rows(batch); ++b) {
    if (loss.ignores && frame_.data.labels[targets(batch).row(b)] == loss.ignored) continue;
    sum += by_weight ? row_weight(batch, b) : rows.at(b);
  }
  return sum;
}

void StepRunner::loss(const Step& step, const Batch& batch) const {
  const LossSpec& loss = frame_.training->loss;
  const Buffer& x = shape(step.in);
  const double divisor = loss_divisor(batch);
  const float scale = divisor == 0.0 ? 0.0f : loss.weight / static_cast<float>(divisor);
  kernels_.loss[index(step.loss)][index(loss.target)]({data(step.in), data(step.y_pred), data(step.out), x.ld,
                                                       x.columns, targets(batch), frame_.data.sample_weight, scale,
                                                       loss.label_smoothing, data(step.losses), rows(step, batch, x),
                                                       loss.parameters, loss.ignored, frame_.data.binary});
}

Judged StepRunner::judged(int y_pred, const Batch& batch) const {
  const Buffer& buffer = shape(y_pred);
  // As in Keras on JAX, where predictions lose their mask on the way out of the gradient.
  const bool heeds_mask = plan_.mode != Plan::Mode::kTrain;
  return {data(y_pred),
          buffer.ld,
          buffer.columns,
          targets(batch),
          frame_.training->loss.target,
          frame_.data.sample_weight,
          frame_.data.binary,
          heeds_mask ? counted() : Counted{}};
}

void StepRunner::metric(const Step& step, const Batch& batch) const {
  if (shape(step.out).copied && !owns_metric(step.index)) return;
  const MetricSpec& metric = frame_.training->metrics[static_cast<size_t>(step.index)];
  float* values = data(step.out) + step.index * shape(step.out).ld;
  metric_values(kernels_, metric, judged(step.in, batch), rows(step, batch, shape(step.in)), data(step.y_pred), values);
}

/// Each metric has an owner among the threads, so that its sums run in the order of the samples. Those of the loss are
/// the first thread's.
bool StepRunner::owns_metric(int index) const { return worker_.index == (index + 1) % worker_.threads; }

void StepRunner::tally(const Step& step, const Batch& batch) const {
  if (!owns_metric(step.index)) return;
  const auto index = static_cast<size_t>(step.index);
  add_tally(kernels_, frame_.training->metrics[index], judged(step.in, batch), output_rows(batch),
            frame_.totals->metrics[index]);
}

/// Adds up what the batch left behind, in the order of the samples.
void StepRunner::reduce(const Batch& batch) const {
  if (worker_.index == 0) reduce_losses(batch);
  for (size_t i = 0; i < frame_.training->metrics.size(); ++i) {
    const MetricSpec& metric = frame_.training->metrics[i];
    if (!by_sample(metric) || !owns_metric(static_cast<int>(i))) continue;
    const float* values = data(plan_.metrics) + static_cast<int64_t>(i) * shape(plan_.metrics).ld;
    add_values(metric, judged(plan_.y_pred, batch), values, output_rows(batch), frame_.totals->metrics[i]);
  }
}

void StepRunner::reduce_losses(const Batch& batch) const {
  Totals& totals = *frame_.totals;
  const auto rows = static_cast<double>(batch.rows), divisor = loss_divisor(batch);
  const double factor = divisor == 0.0 ? 0.0 : static_cast<double>(frame_.training->loss.weight) * rows / divisor;
  const float* losses = data(plan_.losses);
  double loss = totals.loss;
  for (int64_t b = 0; b < output_rows(batch); ++b) {
    loss += factor * row_weight(batch, b) * static_cast<double>(losses[b]);
  }
  totals.samples += rows;
  totals.loss = loss + (penalties(batch) * penalty_factor(batch) * rows + activity_penalties(batch));
}

}  // namespace engine
