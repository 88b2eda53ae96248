// Normalization and scaling of columns and rows, tokens, masks and pooling.
#include "cpu/scheduler.h"
#include "graph/operations/batch_normalization.h"
#include "graph/operations/column_scale.h"
#include "graph/operations/embedding.h"
#include "graph/operations/pooling.h"
#include "graph/operations/row_normalization.h"

namespace engine {
namespace {

// ---- Columns --------------------------------------------------------------------------------------------------------

void column_statistics(const graph::ColumnStatistics& op, const Share& share) {
  const Placement& x = share.shape(op.x);
  float* mean = share.data(op.statistics);
  share.kernels.column_statistics({share.data(op.x), x.ld, share.counted_rows(op.counted), mean,
                                   mean + share.shape(op.statistics).ld, share.rows(op.x), share.columns(op.x)});
}

void renorm_corrections(const graph::RenormCorrections& op, const Share& share) {
  const float* mean = share.data(op.statistics);
  float* r = share.data(op.corrections);
  const int64_t ld = share.shape(op.corrections).ld;
  share.kernels.corrections({mean, mean + share.shape(op.statistics).ld, share.weights(op.running_mean).values,
                             share.weights(op.running_deviation).values, op.epsilon, op.limits, r, r + ld, r + 2 * ld,
                             share.columns(op.statistics)});
}

void update_averages(const graph::UpdateAverages& op, const Share& share) {
  const Range own = share.columns(op.statistics);
  const auto follow = [&](ValueId average, const float* value, double momentum) {
    share.kernels.moving_average({share.weights(average).values, value, momentum, own});
  };
  const float* mean = share.data(op.statistics);
  follow(op.mean, mean, op.momentum);
  if (op.corrections == kNoValue) return follow(op.variance, mean + share.shape(op.statistics).ld, op.momentum);
  const float* deviation = share.data(op.corrections) + 2 * share.shape(op.corrections).ld;
  follow(op.deviation, deviation, op.momentum);
  follow(op.renorm_mean, mean, op.renorm_momentum);
  follow(op.renorm_deviation, deviation, op.renorm_momentum);
  share.kernels.variance_of({share.weights(op.variance).values, share.weights(op.deviation).values, op.epsilon, own});
}

/// Mean and variance of the columns: statistics of the batch, variables or constants.
template <class Op>
StandardizeColumns standardization(const Op& op, const Share& share, ValueId x, ValueId saved, ValueId y) {
  const float* statistics = share.data(op.statistics);
  const float* mean = statistics ? statistics : share.row(op.mean);
  const float* variance = statistics ? statistics + share.shape(op.statistics).ld : share.row(op.variance);
  return {share.data(x),
          share.data(saved),
          share.data(y),
          share.shape(y).ld,
          share.counted_rows(op.counted),
          mean,
          variance,
          op.epsilon,
          op.spread,
          share.rows(y),
          share.columns(y)};
}

void standardize_columns(const graph::StandardizeColumns& op, const Share& share) {
  share.kernels.standardize_columns(standardization(op, share, op.x, kNoValue, op.y));
}

Split split_standardization(const Scheduler& scheduler, const graph::StandardizeColumns& op) {
  return op.statistics != kNoValue ? Split::over('n') : scheduler.split_like(op, op.x);
}

void standardize_columns_gradient(const graph::StandardizeColumnsGradient& op, const Share& share) {
  share.kernels.standardize_columns_backward(standardization(op, share, op.dy, op.y, op.dx));
}

Split split_standardization_gradient(const Scheduler& scheduler, const graph::StandardizeColumnsGradient& op) {
  return op.statistics != kNoValue ? Split::over('n') : scheduler.split_like(op, op.dy);
}

void column_scale(const graph::ColumnScale& op, const Share& share) {
  LearnedColumns arguments{};
  arguments.x = share.data(op.x);
  arguments.y = share.data(op.y);
  arguments.ld = share.shape(op.x).ld;
  const float* corrections = share.data(op.corrections);
  arguments.gain = corrections ? corrections : share.row(op.gain);
  arguments.shift = corrections ? corrections + share.shape(op.corrections).ld : share.row(op.shift);
  arguments.rows = share.rows(op.x);
  arguments.columns = share.columns(op.x);
  share.kernels.learned_columns[index(op.rule)](arguments);
}

void column_scale_input_gradient(const graph::ColumnScaleInputGradient& op, const Share& share) {
  LearnedColumns arguments{};
  arguments.x = share.data(op.x);
  arguments.dy = share.data(op.dy);
  arguments.y = share.data(op.dx);
  arguments.ld = share.shape(op.dx).ld;
  const float* corrections = share.data(op.corrections);
  arguments.gain = corrections ? corrections : share.row(op.gain);
  arguments.rows = share.rows(op.dx);
  arguments.columns = share.columns(op.dx);
  share.kernels.learned_columns_backward[index(op.rule)](arguments);
}

void column_scale_weight_gradient(const graph::ColumnScaleWeightGradient& op, const Share& share) {
  LearnedColumns arguments{};
  arguments.x = share.data(op.x);
  arguments.dy = share.data(op.dy);
  arguments.ld = share.shape(op.dy).ld;
  arguments.dgain = share.data(op.dgain);
  arguments.dshift = share.data(op.dshift);
  arguments.rows = share.rows(op.dy);
  arguments.columns = share.columns(op.dy);
  share.kernels.learned_columns_gradients[index(op.rule)](arguments);
}

// ---- Rows -----------------------------------------------------------------------------------------------------------

template <class Op>
StandardizeRows row_normalization(const Op& op, const Share& share, ValueId x, ValueId saved, ValueId y) {
  const Placement& shape = share.shape(y);
  return {share.data(x),          share.data(saved),          share.data(y), shape.ld,   shape.columns,
          share.data(op.factors), share.shape(op.factors).ld, op.epsilon,    op.centred, op.unit,
          share.rows(y)};
}

void normalize_rows(const graph::NormalizeRows& op, const Share& share) {
  share.kernels.standardize_rows(row_normalization(op, share, op.x, kNoValue, op.y));
}

void normalize_rows_gradient(const graph::NormalizeRowsGradient& op, const Share& share) {
  share.kernels.standardize_rows_backward(row_normalization(op, share, op.dy, op.y, op.dx));
}

// ---- Tokens ---------------------------------------------------------------------------------------------------------

void embed(const graph::Embed& op, const Share& share) {
  const Variable& table = share.variable(op.table);
  const Placement& x = share.shape(op.x);
  share.kernels.embed({share.data(op.x), x.ld, x.columns, share.weights(op.table).values, table.rows, table.columns,
                       share.data(op.y), share.shape(op.y).ld, share.samples()});
}

void embed_gradient(const graph::EmbedGradient& op, const Share& share) {
  const Variable& table = share.variable(op.dtable);
  const Placement& x = share.shape(op.x);
  share.kernels.embed_backward({share.data(op.x), x.ld, x.columns, share.data(op.dy), share.shape(op.dy).ld,
                                share.data(op.dtable), table.rows, table.columns, share.batch.rows,
                                share.padded('n', table.columns)});
}

void encode_tokens(const graph::EncodeTokens& op, const Share& share) {
  const Placement& x = share.shape(op.x);
  share.kernels.encode({share.data(op.x), x.ld, x.columns, share.data(op.y), share.shape(op.y).ld, op.tokens, op.counts,
                        share.rows(op.y)});
}

// ---- Masks and pooling ----------------------------------------------------------------------------------------------

void row_factors(const graph::RowFactors& op, const Share& share) {
  const Placement &x = share.shape(op.x), &factors = share.shape(op.factors);
  const int64_t count = factors.columns, n = x.groups * x.columns / count;
  share.kernels.timestep_mask({share.data(op.x), x.groups * x.ld, x.groups == count ? x.ld : n, n,
                               share.data(op.factors), factors.ld, count, op.value, op.shares, share.samples()});
}

template <class Op>
WeightTimesteps row_weighting(const Op& op, const Share& share, int64_t count) {
  const Placement &x = share.shape(op.x), &y = share.shape(op.y);
  const bool repeats = x.groups < y.groups;  // all rows of a sample of y come from its only row of x
  return {share.data(op.x),
          x.groups * x.ld,
          repeats ? 0 : x.ld,
          share.data(op.factors),
          op.factors == kNoValue ? 0 : share.shape(op.factors).ld,
          op.scale,
          share.data(op.y),
          y.groups * y.ld,
          y.ld,
          count,
          y.columns,
          share.samples()};
}

void scale_rows(const graph::ScaleRows& op, const Share& share) {
  share.kernels.weight_timesteps(row_weighting(op, share, share.shape(op.y).groups));
}

void mean_of_rows(const graph::MeanOfRows& op, const Share& share) {
  share.kernels.sum_timesteps(row_weighting(op, share, share.shape(op.x).groups));
}

void max_of_rows(const graph::MaxOfRows& op, const Share& share) {
  MaxTimesteps arguments{};
  arguments.x = share.data(op.x);
  arguments.ldx = share.shape(op.x).ld;
  arguments.y = share.data(op.y);
  arguments.ldy = share.shape(op.y).ld;
  arguments.count = share.shape(op.x).groups;
  arguments.n = share.shape(op.y).columns;
  arguments.rows = share.samples();
  share.kernels.max_timesteps(arguments);
}

void max_of_rows_gradient(const graph::MaxOfRowsGradient& op, const Share& share) {
  MaxTimesteps arguments{};
  arguments.x = share.data(op.x);
  arguments.ldx = share.shape(op.x).ld;
  arguments.y = share.data(op.y);
  arguments.dy = share.data(op.dy);
  arguments.dx = share.data(op.dx);
  arguments.ldy = share.shape(op.y).ld;
  arguments.count = share.shape(op.x).groups;
  arguments.n = share.shape(op.y).columns;
  arguments.rows = share.samples();
  share.kernels.max_timesteps_backward(arguments);
}

Split split_scale_rows(const Scheduler& scheduler, const graph::ScaleRows& op) {
  return scheduler.is_copied(op.x) ? Split::every_thread() : Split::over(kSamples);
}

}  // namespace

void add_rows_and_columns(Implementations& all) {
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

}  // namespace engine
