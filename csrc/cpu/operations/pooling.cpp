// Masks, and the mean or maximum over the rows of a sample.
#include "graph/operations/pooling.h"

#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

void row_factors(const graph::RowFactors& op, const ThreadContext& thread) {
  const Placement &x = thread.placement(op.x), &factors = thread.placement(op.factors);
  const int64_t count = factors.columns, n = x.groups * x.columns / count;
  thread.kernels.timestep_mask({thread.data(op.x), x.groups * x.ld, x.groups == count ? x.ld : n, n,
                                thread.data(op.factors), factors.ld, count, op.value, op.shares, thread.samples()});
}

template <class Op>
WeightTimestepsArgs row_weighting(const Op& op, const ThreadContext& thread, int64_t count) {
  const Placement &x = thread.placement(op.x), &y = thread.placement(op.y);
  const bool repeats = x.groups < y.groups;  // all rows of a sample of y come from its only row of x
  return {thread.data(op.x),
          x.groups * x.ld,
          repeats ? 0 : x.ld,
          thread.data(op.factors),
          op.factors == kNoValue ? 0 : thread.placement(op.factors).ld,
          op.scale,
          thread.data(op.y),
          y.groups * y.ld,
          y.ld,
          count,
          y.columns,
          thread.samples()};
}

void scale_rows(const graph::ScaleRows& op, const ThreadContext& thread) {
  thread.kernels.weight_timesteps(row_weighting(op, thread, thread.placement(op.y).groups));
}

void mean_of_rows(const graph::MeanOfRows& op, const ThreadContext& thread) {
  thread.kernels.sum_timesteps(row_weighting(op, thread, thread.placement(op.x).groups));
}

template <class Op>
MaxTimestepsArgs max_arguments(const Op& op, const ThreadContext& thread) {
  MaxTimestepsArgs arguments{};
  arguments.x = thread.data(op.x);
  arguments.ldx = thread.placement(op.x).ld;
  arguments.y = thread.data(op.y);
  arguments.ldy = thread.placement(op.y).ld;
  arguments.count = thread.placement(op.x).groups;
  arguments.n = thread.placement(op.y).columns;
  arguments.rows = thread.samples();
  return arguments;
}

void max_of_rows(const graph::MaxOfRows& op, const ThreadContext& thread) {
  thread.kernels.max_timesteps(max_arguments(op, thread));
}

void max_of_rows_gradient(const graph::MaxOfRowsGradient& op, const ThreadContext& thread) {
  MaxTimestepsArgs arguments = max_arguments(op, thread);
  arguments.dy = thread.data(op.dy);
  arguments.dx = thread.data(op.dx);
  thread.kernels.max_timesteps_backward(arguments);
}

Split split_scale_rows(const Scheduler& scheduler, const graph::ScaleRows& op) {
  return scheduler.is_copied(op.x) ? Split::every_thread() : Split::over(kSamples);
}

}  // namespace

void add_pooling(OperationRegistry& all) {
  all.add<graph::RowFactors>(row_factors, by_samples);
  all.add<graph::ScaleRows>(scale_rows, split_scale_rows);
  all.add<graph::MeanOfRows>(mean_of_rows, by_samples);
  all.add<graph::MaxOfRows>(max_of_rows, by_samples);
  all.add<graph::MaxOfRowsGradient>(max_of_rows_gradient, by_samples);
}

}  // namespace engine::cpu
