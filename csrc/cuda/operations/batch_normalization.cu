// Batch normalization: statistics of columns over the rows of a batch, their moving averages, and the standardization
// of columns with its gradient.
#include "cuda/column_sums.h"
#include "cuda/elements.h"
#include "graph/operations/batch_normalization.h"

namespace engine::cuda {
namespace {

/// Rows of a matrix, some of which a mask leaves out.
struct MaskedRows {
  const float* mask;  // by row, or null
  int64_t groups;     // rows of each sample

  __device__ bool counts(int64_t b) const { return !mask || mask[b] != 0.0f; }
  __device__ int64_t rows(const Batch& batch) const { return groups * batch.rows; }
};

MaskedRows masked_rows(const RunMemory& memory, ValueId mask, ValueId matrix) {
  return {memory.scratch(mask), memory.schedule.placement(matrix).groups};
}

/// How many rows count, at least 1, by a block that works on columns.
__device__ float divisor_of(const MaskedRows& rows, const Batch& batch) {
  if (!rows.mask) return static_cast<float>(rows.rows(batch));
  const float counted =
      sum_of_rows(rows.rows(batch), true, [&](int64_t b, float sum) { return rows.counts(b) ? sum + 1.0f : sum; });
  return counted == 0.0f ? 1.0f : counted;
}

// ---- Statistics of columns ------------------------------------------------------------------------------------------

/// mean = mean(x) and variance = mean((x - mean)^2) of each column, over the rows that count
struct ColumnStatistics {
  const float* x;
  float *mean, *variance;
  int64_t columns;
  MaskedRows rows;

  int64_t blocks() const { return blocks_for_columns(columns); }
  int64_t shared_bytes() const { return kColumnSumBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t all = rows.rows(batch);
    const float count = divisor_of(rows, batch);
    for_each_column_of_blocks(columns, [&](int64_t j) {
      const bool has_column = j < columns;
      const float own =
          sum_of_rows(all, has_column,
                      [&](int64_t b, float sum) { return rows.counts(b) ? sum + x[b * columns + j] : sum; }) /
          count;
      const float squares = sum_of_rows(all, has_column, [&](int64_t b, float sum) {
        const float d = x[b * columns + j] - own;
        return rows.counts(b) ? formulas::fma(d, d, sum) : sum;
      });
      if (!has_column || threadIdx.x >= kWarp) return;
      mean[j] = own;
      variance[j] = squares / count;
    });
  }
};

void schedule_statistics(Schedule& schedule, const graph::ColumnStatistics& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t columns = memory.schedule.placement(op.x).columns;
    float* const mean = memory.scratch(op.statistics);
    return ColumnStatistics{memory.scratch(op.x), mean, mean + columns, columns,
                            masked_rows(memory, op.row_mask, op.x)};
  });
}

/// r = deviation / running deviation and d = (mean - running mean) / running deviation, within their limits
struct RenormCorrections {
  const float *mean, *variance, *running_mean, *running_deviation;
  float *r, *d, *deviation;
  float epsilon;
  CorrectionLimits limits;

  __device__ static float within(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
  __device__ void operator()(int64_t j, const Batch&) const {
    const float least = formulas::sqrt(epsilon), own = formulas::sqrt(variance[j] + epsilon);
    const float running = running_deviation[j], divisor = running < least ? least : running;
    r[j] = within(own / divisor, limits.rmin, limits.rmax);
    d[j] = within((mean[j] - running_mean[j]) / divisor, -limits.dmax, limits.dmax);
    deviation[j] = own;
  }
};

void schedule_corrections(Schedule& schedule, const graph::RenormCorrections& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t n = memory.schedule.placement(op.corrections).columns;
    const float* const mean = memory.scratch(op.statistics);
    float* const r = memory.scratch(op.corrections);
    return Elements<RenormCorrections>{
        n,
        0,
        0,
        {mean, mean + n, memory.numbers(op.running_mean), memory.numbers(op.running_deviation), r, r + n, r + 2 * n,
         op.epsilon, op.limits}};
  });
}

/// average = momentum average + (1 - momentum) value
struct MovingAverage {
  const float* value;
  float* average;
  float momentum, rest;
  __device__ void operator()(int64_t j, const Batch&) const {
    average[j] = formulas::fma(average[j], momentum, value[j] * rest);
  }
};

/// variance = max(deviation^2 - epsilon, 0)
struct VarianceOf {
  const float* deviation;
  float* variance;
  float epsilon;
  __device__ void operator()(int64_t j, const Batch&) const {
    const float own = deviation[j] * deviation[j] - epsilon;
    variance[j] = own > 0.0f ? own : 0.0f;
  }
};

void schedule_averages(Schedule& schedule, const graph::UpdateAverages& op) {
  // The statistics have two rows (mean, variance), the corrections three (r, d, deviation).
  const auto follow = [&](ValueId average, ValueId value, int64_t row, double momentum) {
    schedule.add(op, [=](const RunMemory& memory) {
      const int64_t n = memory.schedule.placement(value).columns;
      return Elements<MovingAverage>{n,
                                     0,
                                     0,
                                     {memory.scratch(value) + row * n, memory.weights(average).values,
                                      static_cast<float>(momentum), static_cast<float>(1.0 - momentum)}};
    });
  };
  follow(op.mean, op.statistics, 0, op.momentum);
  if (op.corrections == kNoValue) return follow(op.variance, op.statistics, 1, op.momentum);
  follow(op.deviation, op.corrections, 2, op.momentum);
  follow(op.renorm_mean, op.statistics, 0, op.renorm_momentum);
  follow(op.renorm_deviation, op.corrections, 2, op.renorm_momentum);
  schedule.add(op, [&op](const RunMemory& memory) {
    return Elements<VarianceOf>{memory.schedule.placement(op.statistics).columns,
                                0,
                                0,
                                {memory.weights(op.deviation).values, memory.weights(op.variance).values, op.epsilon}};
  });
}

// ---- Standardization of columns -------------------------------------------------------------------------------------

/// Mean and variance of each column: statistics of the batch, variables or constants.
struct ColumnMoments {
  const float *mean, *variance;
  float epsilon;
  Spread spread;

  /// The factor that standardizes column j.
  __device__ float factor(int64_t j) const {
    if (spread == Spread::kVariance) return 1.0f / formulas::sqrt(variance[j] + epsilon);
    const float deviation = formulas::sqrt(variance[j]), bounded = deviation < epsilon ? epsilon : deviation;
    return spread == Spread::kDeviation ? 1.0f / bounded : bounded;
  }
};

template <class Op>
ColumnMoments moments_of(const RunMemory& memory, const Op& op, int64_t columns) {
  const float* const statistics = memory.scratch(op.statistics);
  return {statistics ? statistics : memory.numbers(op.mean),
          statistics ? statistics + columns : memory.numbers(op.variance), op.epsilon, op.spread};
}

/// y = factor (x - mean), or factor x + mean where the spread is kInverse
struct StandardizeColumns {
  const float* x;
  float* y;
  int64_t columns;
  ColumnMoments moments;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t j = i % columns;
    const float mean = moments.mean[j], factor = moments.factor(j);
    y[i] = moments.spread == Spread::kInverse ? formulas::fma(x[i], factor, mean) : (x[i] - mean) * factor;
  }
};

void schedule_standardization(Schedule& schedule, const graph::StandardizeColumns& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t columns = memory.schedule.placement(op.y).columns;
    return for_elements(
        memory.schedule, op.y,
        StandardizeColumns{memory.scratch(op.x), memory.scratch(op.y), columns, moments_of(memory, op, columns)});
  });
}

/// dx = factor dy where mean and variance are constants. Where they are those of the batch, with y = factor (x - mean):
/// dx = factor (dy - mean(dy) - y mean(dy y)) for the rows that count, and factor dy for the others.
struct StandardizeColumnsGradient {
  const float *dy, *y;
  float* dx;
  int64_t columns;
  ColumnMoments moments;
  MaskedRows rows;

  int64_t blocks() const { return blocks_for_columns(columns); }
  int64_t shared_bytes() const { return kColumnSumBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t all = rows.rows(batch);
    const float count = divisor_of(rows, batch);
    for_each_column_of_blocks(columns, [&](int64_t j) {
      const bool has_column = j < columns;
      const float mean = sum_of_rows(all, has_column, [&](int64_t b, float sum) { return sum + dy[b * columns + j]; });
      const float slope = sum_of_rows(all, has_column, [&](int64_t b, float sum) {
        return formulas::fma(dy[b * columns + j], y[b * columns + j], sum);
      });
      if (!has_column) return;
      const float factor = moments.factor(j), share = mean / count, along = slope / count;
      for_rows_of_warp(all, [&](int64_t b) {
        const int64_t at = b * columns + j;
        dx[at] = factor * (rows.counts(b) ? formulas::fma(-along, y[at], dy[at] - share) : dy[at]);
      });
    });
  }
};

struct ScaleByFactors {
  const float* dy;
  float* dx;
  int64_t columns;
  ColumnMoments moments;
  __device__ void operator()(int64_t i, const Batch&) const { dx[i] = dy[i] * moments.factor(i % columns); }
};

void schedule_standardization_gradient(Schedule& schedule, const graph::StandardizeColumnsGradient& op) {
  if (op.y == kNoValue) {
    schedule.add(op, [&op](const RunMemory& memory) {
      const int64_t columns = memory.schedule.placement(op.dx).columns;
      return for_elements(
          memory.schedule, op.dx,
          ScaleByFactors{memory.scratch(op.dy), memory.scratch(op.dx), columns, moments_of(memory, op, columns)});
    });
    return;
  }
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t columns = memory.schedule.placement(op.dx).columns;
    return StandardizeColumnsGradient{memory.scratch(op.dy),           memory.scratch(op.y),
                                      memory.scratch(op.dx),           columns,
                                      moments_of(memory, op, columns), masked_rows(memory, op.row_mask, op.dx)};
  });
}

}  // namespace

void add_batch_normalization(Implementations& all) {
  all.add<graph::ColumnStatistics>(schedule_statistics);
  all.add<graph::RenormCorrections>(schedule_corrections);
  all.add<graph::UpdateAverages>(schedule_averages);
  all.add<graph::StandardizeColumns>(schedule_standardization);
  all.add<graph::StandardizeColumnsGradient>(schedule_standardization_gradient);
}

}  // namespace engine::cuda
