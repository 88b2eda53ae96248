// Normalization of columns by statistics of the batch, by running averages, or by those of a data set.
#pragma once
#include "formulas/kinds.h"
#include "graph/layer.h"
#include "graph/operation.h"
#include "graph/operations/column_scale.h"

namespace engine::graph {

/// statistics[0,n] = mean, statistics[1,n] = variance of x[:,n], over the rows that `row_mask` keeps
struct ColumnStatistics final : Operation {
  ValueId x = kNoValue, row_mask = kNoValue, statistics = kNoValue;

  const char* name() const override { return "column_statistics"; }
  std::vector<Operand> operands() const override {
    return {writes(statistics, kWhole, 'n'), reads(x, kSamples, 'n'), reads(row_mask, kSamples, kWhole)};
  }
};

/// Batch renormalization (Ioffe, 2017): deviation[n] of the batch; r[n] and d[n], by which standardized columns become
/// r x + d. No gradient goes through them.
struct RenormCorrections final : Operation {
  ValueId statistics = kNoValue, running_mean = kNoValue, running_deviation = kNoValue;
  ValueId r = kNoValue, d = kNoValue, deviation = kNoValue;
  float epsilon = 0.0f;
  CorrectionLimits limits = {};

  const char* name() const override { return "renorm_corrections"; }
  std::vector<Operand> operands() const override {
    return {writes(r, kWhole, 'n'),         writes(d, kWhole, 'n'),           writes(deviation, kWhole, 'n'),
            reads(statistics, kWhole, 'n'), reads(running_mean, kWhole, 'n'), reads(running_deviation, kWhole, 'n')};
  }
  void differentiate(Differentiation&) const override {}
};

/// The running averages follow the statistics of a batch: average = momentum average + (1 - momentum) statistic.
struct UpdateAverages final : Operation {
  ValueId statistics = kNoValue, batch_deviation = kNoValue;  // the latter of batch renormalization alone
  ValueId mean = kNoValue, variance = kNoValue;
  /// Of batch renormalization: running deviation; mean and deviation that batches are corrected to.
  ValueId deviation = kNoValue, renorm_mean = kNoValue, renorm_deviation = kNoValue;
  double momentum = 0.0, renorm_momentum = 0.0;
  float epsilon = 0.0f;

  const char* name() const override { return "update_averages"; }
  std::vector<Operand> operands() const override {
    return {updates(mean, kWhole, 'n'),         updates(variance, kWhole, 'n'),         updates(deviation, kWhole, 'n'),
            updates(renorm_mean, kWhole, 'n'),  updates(renorm_deviation, kWhole, 'n'), reads(statistics, kWhole, 'n'),
            reads(batch_deviation, kWhole, 'n')};
  }
};

/// y[b,n] = (x[b,n] - mean[n]) * factor(variance[n]). Mean and variance are rows of `statistics`, variables or
/// constants.
struct StandardizeColumns final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  ValueId statistics = kNoValue, mean = kNoValue, variance = kNoValue;
  ValueId row_mask = kNoValue;  // the rows that the statistics are of
  float epsilon = 0.0f;
  Spread spread = Spread::kVariance;

  const char* name() const override { return "standardize_columns"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, 'n'), reads(x, kSamples, 'n'), reads(statistics, kWhole, 'n'), reads(mean, kWhole, 'n'),
            reads(variance, kWhole, 'n')};
  }
  void differentiate(Differentiation& gradients) const override;
};

/// The gradient by x, through the statistics where they are of the batch
struct StandardizeColumnsGradient final : Operation {
  ValueId dy = kNoValue, y = kNoValue, dx = kNoValue;  // y where the statistics are of the batch, else kNoValue
  ValueId statistics = kNoValue, mean = kNoValue, variance = kNoValue;
  ValueId row_mask = kNoValue;
  float epsilon = 0.0f;
  Spread spread = Spread::kVariance;

  const char* name() const override { return "standardize_columns_gradient"; }
  std::vector<Operand> operands() const override;
  InPlace in_place() const override { return {dy, dx}; }
  void differentiate(Differentiation& gradients) const override;
};

std::shared_ptr<Layer> read_batch_normalization(const Attributes& attributes);
std::shared_ptr<Layer> read_standardize(const Attributes& attributes);

}  // namespace engine::graph
