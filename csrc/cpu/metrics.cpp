#include "cpu/metrics.h"

namespace engine::cpu {
namespace {

/// All outputs with their targets and weights, for whoever sorts them in the end.
void add_scores(const MetricInputs& batch, const float* sample_weight, int64_t rows, std::vector<double>& state) {
  for (int64_t b = 0; b < rows; ++b) {
    const int64_t row = batch.targets.row(b);
    const double weight = sample_weight ? static_cast<double>(sample_weight[row]) : 1.0;
    for (int64_t j = 0; j < batch.n; ++j) {
      const bool positive = batch.form == Target::kSparse ? batch.targets.labels[row] == j
                                                          : batch.targets.dense[row * batch.n + j] != 0.0f;
      state.insert(state.end(), {static_cast<double>(batch.y_pred[b * batch.ld + j]), positive ? 1.0 : 0.0, weight});
    }
  }
}

}  // namespace

void metric_values(const KernelTable& kernels, const MetricSpec& metric, const MetricInputs& batch, Range rows,
                   float* scratch, float* values) {
  if (metric.kind == MetricSpec::Kind::kValue) {
    kernels.metric_values[index(metric.value)][index(batch.form)](
        {batch.y_pred, batch.ld, batch.n, batch.targets, metric.threshold, values, rows});
    return;
  }
  const LossSpec& loss = metric.loss;
  kernels.loss[index(formula(loss))][index(batch.form)]({batch.y_pred, scratch, nullptr, batch.ld, batch.n,
                                                         batch.targets, nullptr, 1.0f, loss.label_smoothing, values,
                                                         rows, loss.parameters, loss.ignored, batch.binary});
}

void add_values(const MetricSpec& metric, const MetricInputs& batch, const float* values, int64_t rows,
                std::vector<double>& state) {
  if (metric.by_batch) {
    if (rows > 0) {
      state[0] += static_cast<double>(values[0]);
      state[1] += 1.0;
    }
    return;
  }
  const float* weights = metric.weighted ? batch.sample_weight : nullptr;
  const RowMask row_mask = metric.masked ? batch.row_mask : RowMask{};
  double sum = state[0], count = state[1];
  for (int64_t b = 0; b < rows; ++b) {
    double weight = row_mask.at(b);
    if (weights || row_mask.values) {
      // As in Keras, samples that a crossentropy ignores count for nothing where there are weights.
      const int64_t row = batch.targets.row(b);
      const bool ignored = metric.loss.ignores && batch.targets.labels[row] == metric.loss.ignored;
      weight *= ignored ? 0.0 : weights ? static_cast<double>(weights[row]) : 1.0;
    }
    sum += weight * static_cast<double>(values[b]);
    count += weight;
  }
  state[0] = sum;
  state[1] = count;
}

void add_metric_sums(const KernelTable& kernels, const MetricSpec& metric, const MetricInputs& batch, int64_t rows,
                     std::vector<double>& state) {
  const float* weights = metric.weighted ? batch.sample_weight : nullptr;
  if (metric.kind == MetricSpec::Kind::kScores) return add_scores(batch, weights, rows, state);
  kernels.metric_sums[index(metric.sums)][index(batch.form)]({batch.y_pred,
                                                              batch.ld,
                                                              batch.n,
                                                              batch.targets,
                                                              {0, rows},
                                                              weights,
                                                              metric.thresholds.data(),
                                                              static_cast<int64_t>(metric.thresholds.size()),
                                                              metric.even,
                                                              metric.below_zero,
                                                              metric.column,
                                                              metric.top_k,
                                                              metric.by_column,
                                                              metric.logits,
                                                              state.data()});
}

}  // namespace engine::cpu
