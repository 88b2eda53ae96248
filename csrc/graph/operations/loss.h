// Losses and metrics of an output, and the sums over a pass.
#pragma once
#include "formulas/kinds.h"
#include "graph/operation.h"
#include "graph/training_spec.h"

namespace engine::graph {

/// losses[b] = loss(x[b,:], target b), unweighted; gradient[b,:] = its derivative by x[b,:], times the weight of the
/// row over what the reduction divides by. Where the formula reads logits, y_pred gets their probabilities.
struct LossOfRows final : Operation {
  int output = 0;
  ValueId x = kNoValue, losses = kNoValue, gradient = kNoValue, y_pred = kNoValue;
  ValueId row_mask = kNoValue;  // the rows that the mask keeps
  Loss loss = Loss::kMeanSquaredError;

  const char* name() const override { return "loss"; }
  std::string attributes() const override { return kLossNames.of[static_cast<size_t>(loss)]; }
  std::vector<Operand> operands() const override {
    return {writes(losses, kSamples, kWhole), writes(gradient, kSamples, kWhole), writes(y_pred, kSamples, kWhole),
            reads(x, kSamples, kWhole), reads(row_mask, kWhole, kWhole)};
  }
};

/// The caller computes the losses of all rows, and the gradient.
struct HostLoss final : HostOperation {
  int output = 0;
  ValueId y_pred = kNoValue, losses = kNoValue, gradient = kNoValue, row_mask = kNoValue;

  const char* name() const override { return "host_loss"; }
  std::vector<Operand> operands() const override {
    return {writes(losses, kWhole, kWhole), writes(gradient, kWhole, kWhole), reads(y_pred, kWhole, kWhole),
            reads(row_mask, kWhole, kWhole)};
  }
};

/// The caller looks at the predictions of the batch.
struct HostMetrics final : HostOperation {
  std::vector<ValueId> y_pred;  // of each output

  const char* name() const override { return "host_metrics"; }
  std::vector<Operand> operands() const override;
};

/// values[b] = metric(y_pred[b,:], target b)
struct MetricOfRows final : Operation {
  int metric = 0;
  ValueId y_pred = kNoValue, values = kNoValue;
  ValueId probabilities = kNoValue;  // scratch of a loss formula that gives them

  const char* name() const override { return "metric"; }
  std::vector<Operand> operands() const override {
    return {writes(values, kSamples, kWhole), reads(y_pred, kSamples, kWhole), writes(probabilities, kSamples, kWhole)};
  }
};

/// The values of all rows join the metric's sums over the pass, in the order of the samples.
struct AddMetric final : Operation {
  int metric = 0;
  ValueId values = kNoValue, y_pred = kNoValue, row_mask = kNoValue;

  const char* name() const override { return "add_metric"; }
  std::vector<Operand> operands() const override {
    return {reads(values, kWhole, kWhole), reads(row_mask, kWhole, kWhole)};
  }
};

/// The sums that a metric is made of (confusion counts, moments, scores) grow by all rows, in the order of the samples.
struct MetricOfSums final : Operation {
  int metric = 0;
  ValueId y_pred = kNoValue, row_mask = kNoValue;

  const char* name() const override { return "metric_of_sums"; }
  std::vector<Operand> operands() const override {
    return {reads(y_pred, kWhole, kWhole), reads(row_mask, kWhole, kWhole)};
  }
};

/// A sum of squares or magnitudes of the weights of a variable, or another penalty on them, times `factor`.
struct PenaltyTerm {
  ValueId sums = kNoValue;
  double factor = 1.0;
};

/// The batch's losses and penalties join the sums over the pass, in the order of the samples.
struct AddLosses final : Operation {
  std::vector<ValueId> losses, row_mask;  // by output
  std::vector<PenaltyTerm> penalties;
  std::vector<ValueId> activity_penalties;

  const char* name() const override { return "add_losses"; }
  std::vector<Operand> operands() const override;
};

}  // namespace engine::graph
