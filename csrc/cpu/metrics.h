// How metrics grow with a batch: in training, and for batches that a caller brings along.
#pragma once
#include <cstdint>
#include <vector>

#include "graph/training_spec.h"
#include "kernels/table.h"

namespace engine::cpu {

/// Predictions of a batch (rows, n), and what they are compared with.
struct MetricInputs {
  const float* y_pred;
  int64_t ld, n;
  Targets targets;
  Target form;
  const float* sample_weight;  // by row of the data set's outputs, or null
  bool binary;                 // all dense targets are 0 or 1
  RowMask row_mask = {};       // the rows that the metric sees
};

/// Values of the samples `rows`, for a metric that is their mean; `scratch` is like y_pred.
void metric_values(const KernelTable& kernels, const MetricSpec& metric, const MetricInputs& batch, Range rows,
                   float* scratch, float* values);

/// Adds the values of `rows` samples to a metric's state, in their order.
void add_values(const MetricSpec& metric, const MetricInputs& batch, const float* values, int64_t rows,
                std::vector<double>& state);

/// Adds `rows` samples to the state of a metric that is made from sums over them, in their order.
void add_metric_sums(const KernelTable& kernels, const MetricSpec& metric, const MetricInputs& batch, int64_t rows,
                     std::vector<double>& state);

}  // namespace engine::cpu
