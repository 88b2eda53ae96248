// Batch normalization, and the statistics that it keeps.
#include "graph/operations/batch_normalization.h"

#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

void column_statistics(const graph::ColumnStatistics& op, const ThreadContext& thread) {
  const Placement& x = thread.placement(op.x);
  float* mean = thread.data(op.statistics);
  thread.kernels.column_statistics({thread.data(op.x), x.ld, thread.row_mask(op.row_mask), mean,
                                    mean + thread.placement(op.statistics).ld, thread.own_rows(op.x),
                                    thread.columns(op.x)});
}

void renorm_corrections(const graph::RenormCorrections& op, const ThreadContext& thread) {
  const float* mean = thread.data(op.statistics);
  thread.kernels.corrections({mean, mean + thread.placement(op.statistics).ld, thread.weights(op.running_mean).values,
                              thread.weights(op.running_deviation).values, op.epsilon, op.limits, thread.data(op.r),
                              thread.data(op.d), thread.data(op.deviation), thread.columns(op.statistics)});
}

void update_averages(const graph::UpdateAverages& op, const ThreadContext& thread) {
  const Range own = thread.columns(op.statistics);
  const auto follow = [&](ValueId average, const float* value, double momentum) {
    thread.kernels.moving_average({thread.weights(average).values, value, momentum, own});
  };
  const float* mean = thread.data(op.statistics);
  follow(op.mean, mean, op.momentum);
  if (op.batch_deviation == kNoValue)
    return follow(op.variance, mean + thread.placement(op.statistics).ld, op.momentum);
  const float* deviation = thread.data(op.batch_deviation);
  follow(op.deviation, deviation, op.momentum);
  follow(op.renorm_mean, mean, op.renorm_momentum);
  follow(op.renorm_deviation, deviation, op.renorm_momentum);
  thread.kernels.variance_of(
      {thread.weights(op.variance).values, thread.weights(op.deviation).values, op.epsilon, own});
}

/// Mean and variance of the columns: statistics of the batch, variables or constants.
template <class Op>
StandardizeColumnsArgs standardization(const Op& op, const ThreadContext& thread, ValueId x, ValueId saved, ValueId y) {
  const float* statistics = thread.data(op.statistics);
  const float* mean = statistics ? statistics : thread.row(op.mean);
  const float* variance = statistics ? statistics + thread.placement(op.statistics).ld : thread.row(op.variance);
  return {thread.data(x),
          thread.data(saved),
          thread.data(y),
          thread.placement(y).ld,
          thread.row_mask(op.row_mask),
          mean,
          variance,
          op.epsilon,
          op.spread,
          thread.own_rows(y),
          thread.columns(y)};
}

void standardize_columns(const graph::StandardizeColumns& op, const ThreadContext& thread) {
  thread.kernels.standardize_columns(standardization(op, thread, op.x, kNoValue, op.y));
}

Split split_standardization(const Scheduler& scheduler, const graph::StandardizeColumns& op) {
  return op.statistics != kNoValue ? Split::over('n') : scheduler.split_like(op, op.x);
}

void standardize_columns_gradient(const graph::StandardizeColumnsGradient& op, const ThreadContext& thread) {
  thread.kernels.standardize_columns_backward(standardization(op, thread, op.dy, op.y, op.dx));
}

Split split_standardization_gradient(const Scheduler& scheduler, const graph::StandardizeColumnsGradient& op) {
  return op.statistics != kNoValue ? Split::over('n') : scheduler.split_like(op, op.dy);
}

}  // namespace

void add_batch_normalization(OperationRegistry& all) {
  all.add<graph::ColumnStatistics>(column_statistics, over<'n'>);
  all.add<graph::RenormCorrections>(renorm_corrections, over<'n'>);
  all.add<graph::UpdateAverages>(update_averages, over<'n'>);
  all.add<graph::StandardizeColumns>(standardize_columns, split_standardization);
  all.add<graph::StandardizeColumnsGradient>(standardize_columns_gradient, split_standardization_gradient);
}

}  // namespace engine::cpu
