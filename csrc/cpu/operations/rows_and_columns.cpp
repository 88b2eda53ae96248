// Normalization and scaling of columns and rows, tokens, masks and pooling.
#include <algorithm>
#include <cstring>
#include <limits>

#include "cpu/scheduler.h"
#include "graph/operations/batch_normalization.h"
#include "graph/operations/column_scale.h"
#include "graph/operations/embedding.h"
#include "graph/operations/pooling.h"
#include "graph/operations/row_normalization.h"

namespace engine::cpu {
namespace {

// ---- Columns --------------------------------------------------------------------------------------------------------

void column_statistics(const graph::ColumnStatistics& op, const ThreadContext& thread) {
  const Placement& x = thread.placement(op.x);
  float* mean = thread.data(op.statistics);
  thread.kernels.column_statistics({thread.data(op.x), x.ld, thread.row_mask(op.row_mask), mean,
                                    mean + thread.placement(op.statistics).ld, thread.own_rows(op.x),
                                    thread.columns(op.x)});
}

void renorm_corrections(const graph::RenormCorrections& op, const ThreadContext& thread) {
  const float* mean = thread.data(op.statistics);
  float* r = thread.data(op.corrections);
  const int64_t ld = thread.placement(op.corrections).ld;
  thread.kernels.corrections({mean, mean + thread.placement(op.statistics).ld, thread.weights(op.running_mean).values,
                              thread.weights(op.running_deviation).values, op.epsilon, op.limits, r, r + ld, r + 2 * ld,
                              thread.columns(op.statistics)});
}

void update_averages(const graph::UpdateAverages& op, const ThreadContext& thread) {
  const Range own = thread.columns(op.statistics);
  const auto follow = [&](ValueId average, const float* value, double momentum) {
    thread.kernels.moving_average({thread.weights(average).values, value, momentum, own});
  };
  const float* mean = thread.data(op.statistics);
  follow(op.mean, mean, op.momentum);
  if (op.corrections == kNoValue) return follow(op.variance, mean + thread.placement(op.statistics).ld, op.momentum);
  const float* deviation = thread.data(op.corrections) + 2 * thread.placement(op.corrections).ld;
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

void column_scale(const graph::ColumnScale& op, const ThreadContext& thread) {
  ScaleColumnsArgs arguments{};
  arguments.x = thread.data(op.x);
  arguments.y = thread.data(op.y);
  arguments.ld = thread.placement(op.x).ld;
  const float* corrections = thread.data(op.corrections);
  arguments.gain = corrections ? corrections : thread.row(op.gain);
  arguments.shift = corrections ? corrections + thread.placement(op.corrections).ld : thread.row(op.shift);
  arguments.rows = thread.own_rows(op.x);
  arguments.columns = thread.columns(op.x);
  thread.kernels.scale_columns[index(op.rule)](arguments);
}

void column_scale_input_gradient(const graph::ColumnScaleInputGradient& op, const ThreadContext& thread) {
  ScaleColumnsArgs arguments{};
  arguments.x = thread.data(op.x);
  arguments.dy = thread.data(op.dy);
  arguments.y = thread.data(op.dx);
  arguments.ld = thread.placement(op.dx).ld;
  const float* corrections = thread.data(op.corrections);
  arguments.gain = corrections ? corrections : thread.row(op.gain);
  arguments.rows = thread.own_rows(op.dx);
  arguments.columns = thread.columns(op.dx);
  thread.kernels.scale_columns_backward[index(op.rule)](arguments);
}

void column_scale_weight_gradient(const graph::ColumnScaleWeightGradient& op, const ThreadContext& thread) {
  ScaleColumnsArgs arguments{};
  arguments.x = thread.data(op.x);
  arguments.dy = thread.data(op.dy);
  arguments.ld = thread.placement(op.dy).ld;
  arguments.dgain = thread.data(op.dgain);
  arguments.dshift = thread.data(op.dshift);
  arguments.rows = thread.own_rows(op.dy);
  arguments.columns = thread.columns(op.dy);
  thread.kernels.scale_columns_gradients[index(op.rule)](arguments);
}

// ---- Rows -----------------------------------------------------------------------------------------------------------

template <class Op>
StandardizeRowsArgs row_normalization(const Op& op, const ThreadContext& thread, ValueId x, ValueId saved, ValueId y) {
  const Placement& shape = thread.placement(y);
  return {thread.data(x),
          thread.data(saved),
          thread.data(y),
          shape.ld,
          shape.columns,
          thread.data(op.factors),
          thread.placement(op.factors).ld,
          op.epsilon,
          op.centred,
          op.unit,
          thread.own_rows(y)};
}

void normalize_rows(const graph::NormalizeRows& op, const ThreadContext& thread) {
  thread.kernels.standardize_rows(row_normalization(op, thread, op.x, kNoValue, op.y));
}

void normalize_rows_gradient(const graph::NormalizeRowsGradient& op, const ThreadContext& thread) {
  thread.kernels.standardize_rows_backward(row_normalization(op, thread, op.dy, op.y, op.dx));
}

// ---- Tokens ---------------------------------------------------------------------------------------------------------

void embed(const graph::Embed& op, const ThreadContext& thread) {
  const Variable& table = thread.variable(op.table);
  const Placement& x = thread.placement(op.x);
  thread.kernels.embed({thread.data(op.x), x.ld, x.columns, thread.weights(op.table).values, table.rows, table.columns,
                        thread.data(op.y), thread.placement(op.y).ld, thread.samples()});
}

/// Steps the row of each token of the batch. A gradient becomes 0 once it has been used, so that a further step of the
/// same row changes nothing.
void step_rows(const graph::EmbedGradient& op, const ThreadContext& thread) {
  const Variable& table = thread.variable(op.table);
  const Placement& x = thread.placement(op.x);
  const OptimizerSpec& optimizer = thread.optimizer();
  const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
  const auto limit = by_value ? static_cast<float>(optimizer.limit) : std::numeric_limits<float>::infinity();
  const OptimizerStep& step = thread.optimizer_step();
  const Weights weights = thread.weights(op.table);
  const auto run = thread.kernels.step_weights[index(optimizer.kind)];
  const float last = static_cast<float>(table.rows - 1);
  Panels(table.rows, table.columns).each(thread.padded('n', table.columns), [&](const Panel& panel) {
    float* const gradient = thread.data(op.dtable) + panel.offset;
    const auto bytes = static_cast<size_t>(panel.columns.end - panel.columns.begin) * sizeof(float);
    for (int64_t b = 0; b < thread.batch.rows; ++b) {
      for (int64_t i = 0; i < x.columns; ++i) {
        const float given = thread.data(op.x)[b * x.ld + i];
        const auto token = static_cast<int64_t>(given > 0.0f ? std::min(given, last) : 0.0f);
        run({shifted(weights, panel.offset),
             gradient,
             panel.width,
             {token, token + 1},
             panel.columns,
             step,
             1.0f,
             limit});
        std::memset(gradient + token * panel.width + panel.columns.begin, 0, bytes);
      }
    }
  });
}

void embed_gradient(const graph::EmbedGradient& op, const ThreadContext& thread) {
  const Variable& table = thread.variable(op.dtable);
  const Placement& x = thread.placement(op.x);
  thread.kernels.embed_backward({thread.data(op.x), x.ld, x.columns, thread.data(op.dy), thread.placement(op.dy).ld,
                                 thread.data(op.dtable), table.rows, table.columns, thread.batch.rows,
                                 thread.padded('n', table.columns), op.steps});
  if (op.steps) step_rows(op, thread);
}

void encode_tokens(const graph::EncodeTokens& op, const ThreadContext& thread) {
  const Placement& x = thread.placement(op.x);
  thread.kernels.encode({thread.data(op.x), x.ld, x.columns, thread.data(op.y), thread.placement(op.y).ld, op.tokens,
                         op.counts, thread.own_rows(op.y)});
}

// ---- Masks and pooling ----------------------------------------------------------------------------------------------

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

void max_of_rows(const graph::MaxOfRows& op, const ThreadContext& thread) {
  MaxTimestepsArgs arguments{};
  arguments.x = thread.data(op.x);
  arguments.ldx = thread.placement(op.x).ld;
  arguments.y = thread.data(op.y);
  arguments.ldy = thread.placement(op.y).ld;
  arguments.count = thread.placement(op.x).groups;
  arguments.n = thread.placement(op.y).columns;
  arguments.rows = thread.samples();
  thread.kernels.max_timesteps(arguments);
}

void max_of_rows_gradient(const graph::MaxOfRowsGradient& op, const ThreadContext& thread) {
  MaxTimestepsArgs arguments{};
  arguments.x = thread.data(op.x);
  arguments.ldx = thread.placement(op.x).ld;
  arguments.y = thread.data(op.y);
  arguments.dy = thread.data(op.dy);
  arguments.dx = thread.data(op.dx);
  arguments.ldy = thread.placement(op.y).ld;
  arguments.count = thread.placement(op.x).groups;
  arguments.n = thread.placement(op.y).columns;
  arguments.rows = thread.samples();
  thread.kernels.max_timesteps_backward(arguments);
}

Split split_scale_rows(const Scheduler& scheduler, const graph::ScaleRows& op) {
  return scheduler.is_copied(op.x) ? Split::every_thread() : Split::over(kSamples);
}

}  // namespace

void add_rows_and_columns(OperationRegistry& all) {
  all.add<graph::ColumnStatistics>(column_statistics, over<'n'>);
  all.add<graph::RenormCorrections>(renorm_corrections, over<'n'>);
  all.add<graph::UpdateAverages>(update_averages, over<'n'>);
  all.add<graph::StandardizeColumns>(standardize_columns, split_standardization);
  all.add<graph::StandardizeColumnsGradient>(standardize_columns_gradient, split_standardization_gradient);
  all.add<graph::ColumnScale>(column_scale, like<&graph::ColumnScale::x>);
  all.add<graph::ColumnScaleInputGradient>(column_scale_input_gradient, like<&graph::ColumnScaleInputGradient::dy>);
  all.add<graph::ColumnScaleWeightGradient>(column_scale_weight_gradient, over<'n'>);
  all.add<graph::NormalizeRows>(normalize_rows, by_samples);
  all.add<graph::NormalizeRowsGradient>(normalize_rows_gradient, by_samples);
  all.add<graph::Embed>(embed, by_samples);
  all.add<graph::EmbedGradient>(embed_gradient, over<'n'>);
  all.add<graph::EncodeTokens>(encode_tokens, by_samples);
  all.add<graph::RowFactors>(row_factors, by_samples);
  all.add<graph::ScaleRows>(scale_rows, split_scale_rows);
  all.add<graph::MeanOfRows>(mean_of_rows, by_samples);
  all.add<graph::MaxOfRows>(max_of_rows, by_samples);
  all.add<graph::MaxOfRowsGradient>(max_of_rows_gradient, by_samples);
}

}  // namespace engine::cpu
