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
  RowCount count;

  __device__ bool is_unmasked(int64_t b) const { return !mask || mask[b] != 0.0f; }
};

MaskedRows masked_rows(const RunMemory& memory, ValueId mask, ValueId matrix) {
  return {memory.scratch(mask), row_count(memory.schedule, matrix)};
}

// ---- Statistics of columns ------------------------------------------------------------------------------------------
// A slice of rows has its own mean, so that squares of deviations are added where no large terms cancel each other;
// what the means of the slices differ from that of all is added by the second kernel (Chan, Golub & LeVeque 1979).

/// What is known of a column in some rows: how many are unmasked, their sum, and the sum of (x - their mean)^2.
enum Statistic { kCount, kSum, kSquares, kStatistics };

/// Mean and variance of a column with these statistics.
struct ColumnMean {
  float *mean, *variance;
  __device__ static float mean_of(const float* statistics) {
    return statistics[kCount] == 0.0f ? 0.0f : statistics[kSum] / statistics[kCount];
  }
  __device__ void store(int64_t j, const float* statistics) const {
    mean[j] = mean_of(statistics);
    variance[j] = statistics[kCount] == 0.0f ? 0.0f : statistics[kSquares] / statistics[kCount];
  }
};

struct SliceStatistics {
  const float* x;
  int64_t columns, max_slices;
  MaskedRows rows;
  ColumnMean to;   // where there is one slice
  float* partial;  // (slices, kStatistics, columns) where there are several

  int64_t blocks() const { return max_slices * blocks_for_columns(columns); }
  int64_t shared_bytes() const { return column_sum_bytes(kSquares); }
  __device__ void run(const Batch& batch) const {
    const int64_t all = rows.count.in(batch);
    for_each_slice(slices_of(all), columns, [&](int64_t slice, int64_t j) {
      const int64_t begin = slice * kSliceRows, end = end_of_slice(slice, all);
      const bool has_column = j < columns;
      float sums[kSquares], squares[1];
      sum_of_rows(begin, end, has_column, sums, [&](int64_t b, float (&totals)[kSquares]) {
        if (!rows.is_unmasked(b)) return;
        totals[kCount] += 1.0f;
        totals[kSum] += x[b * columns + j];
      });
      const float mean = ColumnMean::mean_of(sums);
      sum_of_rows(begin, end, has_column, squares, [&](int64_t b, float (&totals)[1]) {
        const float deviation = x[b * columns + j] - mean;
        if (rows.is_unmasked(b)) totals[0] = formulas::fma(deviation, deviation, totals[0]);
      });
      if (!has_column || threadIdx.x >= kWarp) return;
      const float statistics[kStatistics] = {sums[kCount], sums[kSum], squares[0]};
      if (max_slices == 1) return to.store(j, statistics);
      for (int s = 0; s < kStatistics; ++s) partial[(slice * kStatistics + s) * columns + j] = statistics[s];
    });
  }
};

struct MergeStatistics {
  const float* partial;
  int64_t columns;
  RowCount rows;
  ColumnMean to;

  int64_t blocks() const { return blocks_for_columns(columns); }
  int64_t shared_bytes() const { return column_sum_bytes(kSquares); }
  __device__ void run(const Batch& batch) const {
    const int64_t slices = slices_of(rows.in(batch));
    for_each_slice(1, columns, [&](int64_t, int64_t j) {
      const bool has_column = j < columns;
      const auto of_slice = [&](int64_t slice, int s) { return partial[(slice * kStatistics + s) * columns + j]; };
      float sums[kSquares], squares[1];
      sum_of_rows(0, slices, has_column, sums, [&](int64_t slice, float (&totals)[kSquares]) {
        totals[kCount] += of_slice(slice, kCount);
        totals[kSum] += of_slice(slice, kSum);
      });
      const float mean = ColumnMean::mean_of(sums);
      sum_of_rows(0, slices, has_column, squares, [&](int64_t slice, float (&totals)[1]) {
        const float statistics[] = {of_slice(slice, kCount), of_slice(slice, kSum)};
        const float deviation = ColumnMean::mean_of(statistics) - mean;
        totals[0] += formulas::fma(statistics[kCount] * deviation, deviation, of_slice(slice, kSquares));
      });
      if (!has_column || threadIdx.x >= kWarp) return;
      const float statistics[kStatistics] = {sums[kCount], sums[kSum], squares[0]};
      to.store(j, statistics);
    });
  }
};

void schedule_statistics(Schedule& schedule, const graph::ColumnStatistics& op) {
  const int64_t columns = schedule.placement(op.x).columns, slices = slices_of(schedule.rows(op.x));
  const int64_t partial = slices == 1 ? 0 : schedule.add_scratch(slices * kStatistics * columns);
  const auto mean_of = [&op, columns](const RunMemory& memory) {
    float* const mean = memory.scratch(op.statistics);
    return ColumnMean{mean, mean + columns};
  };
  schedule.add(op, [=, &op](const RunMemory& memory) {
    return SliceStatistics{memory.scratch(op.x),
                           columns,
                           slices,
                           masked_rows(memory, op.row_mask, op.x),
                           mean_of(memory),
                           memory.arguments.scratch + partial};
  });
  if (slices == 1) return;
  schedule.add(op, [=, &op](const RunMemory& memory) {
    return MergeStatistics{memory.arguments.scratch + partial, columns, row_count(memory.schedule, op.x),
                           mean_of(memory)};
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
    const float least = formulas::sqrt(epsilon), of_batch = formulas::sqrt(variance[j] + epsilon);
    const float running = running_deviation[j], divisor = running < least ? least : running;
    r[j] = within(of_batch / divisor, limits.rmin, limits.rmax);
    d[j] = within((mean[j] - running_mean[j]) / divisor, -limits.dmax, limits.dmax);
    deviation[j] = of_batch;
  }
};

void schedule_corrections(Schedule& schedule, const graph::RenormCorrections& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t n = memory.schedule.placement(op.statistics).columns;
    const float* const mean = memory.scratch(op.statistics);
    return for_count(n, RenormCorrections{mean, mean + n, memory.numbers(op.running_mean),
                                          memory.numbers(op.running_deviation), memory.scratch(op.r),
                                          memory.scratch(op.d), memory.scratch(op.deviation), op.epsilon, op.limits});
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
    const float difference = deviation[j] * deviation[j] - epsilon;
    variance[j] = difference > 0.0f ? difference : 0.0f;
  }
};

void schedule_averages(Schedule& schedule, const graph::UpdateAverages& op) {
  // The statistics have two rows (mean, variance).
  const auto follow = [&](ValueId average, ValueId value, int64_t row, double momentum) {
    schedule.add(op, [=, &op](const RunMemory& memory) {
      const int64_t n = memory.schedule.placement(op.statistics).columns;
      return for_count(n, MovingAverage{memory.scratch(value) + row * n, memory.weights(average).values,
                                        static_cast<float>(momentum), static_cast<float>(1.0 - momentum)});
    });
  };
  follow(op.mean, op.statistics, 0, op.momentum);
  if (op.batch_deviation == kNoValue) return follow(op.variance, op.statistics, 1, op.momentum);
  follow(op.deviation, op.batch_deviation, 0, op.momentum);
  follow(op.renorm_mean, op.statistics, 0, op.renorm_momentum);
  follow(op.renorm_deviation, op.batch_deviation, 0, op.renorm_momentum);
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_count(memory.schedule.placement(op.statistics).columns,
                     VarianceOf{memory.weights(op.deviation).values, memory.weights(op.variance).values, op.epsilon});
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

/// means[0,n] = mean(dy[:,n]) and means[1,n] = mean(dy[:,n] y[:,n]): sums over all rows, over the number of unmasked
/// ones
struct GradientMeans {
  static constexpr int kSums = 3;

  const float *dy, *y;
  float* means;
  int64_t columns;
  MaskedRows masked;

  __device__ bool is_wanted(const Batch&) const { return true; }
  __device__ int64_t rows(const Batch& batch) const { return masked.count.in(batch); }
  __device__ void add(int64_t b, int64_t j, float (&sums)[kSums]) const {
    const float gradient = dy[b * columns + j];
    sums[0] += gradient;
    sums[1] = formulas::fma(gradient, y[b * columns + j], sums[1]);
    sums[2] += masked.is_unmasked(b) ? 1.0f : 0.0f;
  }
  __device__ void finish(int64_t j, const float (&sums)[kSums], const Batch&) const {
    const float count = sums[2] == 0.0f ? 1.0f : sums[2];
    means[j] = sums[0] / count;
    means[columns + j] = sums[1] / count;
  }
};

/// dx = factor dy where mean and variance are constants. Where they are those of the batch, with y = factor (x - mean):
/// dx = factor (dy - mean(dy) - y mean(dy y)) for the unmasked rows, and factor dy for the others.
struct StandardizeColumnsGradient {
  const float *dy, *y, *means;
  float* dx;
  int64_t columns;
  ColumnMoments moments;
  MaskedRows rows;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t j = i % columns;
    const bool is_unmasked = rows.is_unmasked(i / columns);
    dx[i] = moments.factor(j) * (is_unmasked ? formulas::fma(-means[columns + j], y[i], dy[i] - means[j]) : dy[i]);
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
  const int64_t columns = schedule.placement(op.dx).columns, means = schedule.add_scratch(2 * columns);
  add_column_sums(schedule, op, row_count(schedule, op.dx), columns, [=, &op](const RunMemory& memory) {
    return GradientMeans{memory.scratch(op.dy), memory.scratch(op.y), memory.arguments.scratch + means, columns,
                         masked_rows(memory, op.row_mask, op.dx)};
  });
  schedule.add(op, [=, &op](const RunMemory& memory) {
    return for_elements(
        memory.schedule, op.dx,
        StandardizeColumnsGradient{memory.scratch(op.dy), memory.scratch(op.y), memory.arguments.scratch + means,
                                   memory.scratch(op.dx), columns, moments_of(memory, op, columns),
                                   masked_rows(memory, op.row_mask, op.dx)});
  });
}

}  // namespace

void add_batch_normalization(OperationRegistry& all) {
  all.add<graph::ColumnStatistics>(schedule_statistics);
  all.add<graph::RenormCorrections>(schedule_corrections);
  all.add<graph::UpdateAverages>(schedule_averages);
  all.add<graph::StandardizeColumns>(schedule_standardization);
  all.add<graph::StandardizeColumnsGradient>(schedule_standardization_gradient);
}

}  // namespace engine::cuda
