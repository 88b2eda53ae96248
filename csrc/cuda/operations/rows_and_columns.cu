// Normalization and scaling of columns and rows, tokens, masks and pooling.
#include "cuda/columns.h"
#include "cuda/elements.h"
#include "cuda/rows.h"
#include "cuda/steps.h"
#include "graph/operations/batch_normalization.h"
#include "graph/operations/column_scale.h"
#include "graph/operations/embedding.h"
#include "graph/operations/pooling.h"
#include "graph/operations/row_normalization.h"

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

// ---- Gain and shift of columns --------------------------------------------------------------------------------------

struct ColumnScale {
  const float *x, *gain, *shift;  // gain and shift may be null
  float* y;
  int64_t columns;
  ColumnRule rule;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t j = i % columns;
    const float factor = gain ? gain[j] : 1.0f;
    y[i] = rule == ColumnRule::kScaled ? formulas::fma(x[i], factor, shift ? shift[j] : 0.0f)
           : x[i] > 0.0f               ? x[i]
                                       : factor * x[i];
  }
};

void schedule_column_scale(Schedule& schedule, const graph::ColumnScale& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t columns = memory.schedule.placement(op.y).columns;
    const float* const corrections = memory.scratch(op.corrections);
    return for_elements(memory.schedule, op.y,
                        ColumnScale{memory.scratch(op.x), corrections ? corrections : memory.numbers(op.gain),
                                    corrections ? corrections + columns : memory.numbers(op.shift),
                                    memory.scratch(op.y), columns, op.rule});
  });
}

struct ColumnScaleInputGradient {
  const float *dy, *x, *gain;
  float* dx;
  int64_t columns;
  ColumnRule rule;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float factor = gain ? gain[i % columns] : 1.0f;
    dx[i] = rule == ColumnRule::kScaled ? dy[i] * factor : x[i] > 0.0f ? dy[i] : x[i] < 0.0f ? factor * dy[i] : 0.0f;
  }
};

void schedule_column_scale_input_gradient(Schedule& schedule, const graph::ColumnScaleInputGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const float* const corrections = memory.scratch(op.corrections);
    return for_elements(
        memory.schedule, op.dx,
        ColumnScaleInputGradient{memory.scratch(op.dy), memory.scratch(op.x),
                                 corrections ? corrections : memory.numbers(op.gain), memory.scratch(op.dx),
                                 memory.schedule.placement(op.dx).columns, op.rule});
  });
}

/// dgain[n] = the sum over b of dy[b,n] x[b,n], of negative x alone by the leaky rule; dshift[n] = that of dy[b,n]
struct ColumnScaleWeightGradient {
  const float *dy, *x;
  float *dgain, *dshift;  // null where nobody reads them
  int64_t columns, groups;
  ColumnRule rule;

  int64_t blocks() const { return blocks_for_columns(columns); }
  int64_t shared_bytes() const { return kColumnSumBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t rows = groups * batch.rows;
    for_each_column_of_blocks(columns, [&](int64_t j) {
      const bool has_column = j < columns, stores = has_column && threadIdx.x < kWarp;
      if (dgain) {
        const float sum = sum_of_rows(rows, has_column, [&](int64_t b, float all) {
          const float of_x = x[b * columns + j];
          const bool counts = rule == ColumnRule::kScaled || of_x < 0.0f;
          return counts ? formulas::fma(dy[b * columns + j], of_x, all) : all;
        });
        if (stores) dgain[j] = sum;
      }
      if (dshift) {
        const float sum =
            sum_of_rows(rows, has_column, [&](int64_t b, float all) { return all + dy[b * columns + j]; });
        if (stores) dshift[j] = sum;
      }
    });
  }
};

void schedule_column_scale_weight_gradient(Schedule& schedule, const graph::ColumnScaleWeightGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& dy = memory.schedule.placement(op.dy);
    return ColumnScaleWeightGradient{memory.scratch(op.dy),
                                     memory.scratch(op.x),
                                     memory.scratch(op.dgain),
                                     memory.scratch(op.dshift),
                                     dy.columns,
                                     dy.groups,
                                     op.rule};
  });
}

// ---- Rows -----------------------------------------------------------------------------------------------------------

/// y = factor d with d = x - mean(x) where `centred`, else x. The factor is 1 / sqrt(mean(d^2) + epsilon), or with
/// `unit` 1 / max(sqrt(sum(d^2)), epsilon). For each row, `factors` keeps the factor, and the weight of the projection
/// on y in the gradient: 1 / n, or with `unit` 1, or 0 where the norm was replaced by epsilon.
struct NormalizeRows {
  const float* x;
  float *y, *factors;
  int64_t columns, groups, max_rows;
  float epsilon;
  bool centred, unit;

  int64_t blocks() const { return blocks_for_warps(groups * max_rows); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const auto n = static_cast<float>(columns);
    for_each_by_warp(groups * batch.rows, [&](int64_t b) {
      const float* const own = x + b * columns;
      float* const to = y + b * columns;
      const Row row{columns};
      const float mean = centred ? row.total([&](int64_t j) { return own[j]; }) / n : 0.0f;
      float squares[1];
      row.sum(squares, [&](int64_t j, float* sums) {
        const float d = own[j] - mean;
        sums[0] = formulas::fma(d, d, sums[0]);
      });
      const float norm = formulas::sqrt(squares[0]);
      const float factor =
          unit ? 1.0f / (norm > epsilon ? norm : epsilon) : 1.0f / formulas::sqrt(squares[0] / n + epsilon);
      row.for_columns([&](int64_t j) { to[j] = (own[j] - mean) * factor; });
      if (threadIdx.x % kWarp != 0) return;
      factors[2 * b] = factor;
      factors[2 * b + 1] = !unit ? 1.0f / n : norm > epsilon ? 1.0f : 0.0f;
    });
  }
};

void schedule_normalize_rows(Schedule& schedule, const graph::NormalizeRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& y = memory.schedule.placement(op.y);
    return NormalizeRows{memory.scratch(op.x),
                         memory.scratch(op.y),
                         memory.scratch(op.factors),
                         y.columns,
                         y.groups,
                         memory.schedule.max_rows(),
                         op.epsilon,
                         op.centred,
                         op.unit};
  });
}

/// dx = factor (dy - m - y projection sum(dy y)), with m = mean(dy) where `centred`, else 0
struct NormalizeRowsGradient {
  const float *dy, *y, *factors;
  float* dx;
  int64_t columns, groups, max_rows;
  bool centred;

  int64_t blocks() const { return blocks_for_warps(groups * max_rows); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    for_each_by_warp(groups * batch.rows, [&](int64_t b) {
      const float *own = dy + b * columns, *out = y + b * columns;
      float* const to = dx + b * columns;
      const Row row{columns};
      const float mean = centred ? row.total([&](int64_t j) { return own[j]; }) / static_cast<float>(columns) : 0.0f;
      float products[1];
      row.sum(products, [&](int64_t j, float* sums) { sums[0] = formulas::fma(own[j], out[j], sums[0]); });
      const float factor = factors[2 * b], slope = factors[2 * b + 1] * products[0];
      row.for_columns([&](int64_t j) { to[j] = factor * formulas::fma(-slope, out[j], own[j] - mean); });
    });
  }
};

void schedule_normalize_rows_gradient(Schedule& schedule, const graph::NormalizeRowsGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& dx = memory.schedule.placement(op.dx);
    return NormalizeRowsGradient{memory.scratch(op.dy),
                                 memory.scratch(op.y),
                                 memory.scratch(op.factors),
                                 memory.scratch(op.dx),
                                 dx.columns,
                                 dx.groups,
                                 memory.schedule.max_rows(),
                                 op.centred};
  });
}

// ---- Tokens ---------------------------------------------------------------------------------------------------------

/// A token, which is stored as a float. The bindings refuse tokens that a table does not have; should one arrive here
/// nevertheless, it becomes the nearest that exists.
__device__ int64_t token_of(float x, int64_t tokens) {
  const auto last = static_cast<float>(tokens - 1);
  return static_cast<int64_t>(x > 0.0f ? x < last ? x : last : 0.0f);
}

/// y[p,:] = table[x[p],:] for each place p that holds a token
struct Embed {
  const float *x, *table;
  float* y;
  int64_t tokens, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    y[i] = table[token_of(x[i / columns], tokens) * columns + i % columns];
  }
};

void schedule_embed(Schedule& schedule, const graph::Embed& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& table = memory.schedule.variable(op.table);
    return for_elements(
        memory.schedule, op.y,
        Embed{memory.scratch(op.x), memory.numbers(op.table), memory.scratch(op.y), table.rows, table.columns});
  });
}

/// dtable[t,:] = the sum of dy[p,:] over the places p that hold token t, in their order: stored, or stepped by at once.
/// The warp of the first of these places does it, so that the order of the terms depends on nothing.
struct EmbedGradient {
  static constexpr int64_t kColumns = 4;  // of a row, for each lane, that are summed in one walk over the places

  const float *x, *dy;
  float* dtable;  // null where the optimizer steps the rows
  Weights table;
  Optimizer rule;
  float limit;  // of the gradient's elements
  int64_t places_of_sample, max_rows, tokens, columns;

  int64_t blocks() const { return blocks_for_warps(places_of_sample * max_rows); }
  int64_t shared_bytes() const { return 0; }

  /// Calls f(p) for the places in [begin, end) that hold `token`, in their order, until it returns false. Each lane
  /// looks at one of 32 places.
  template <class F>
  __device__ void for_places(int64_t token, int64_t begin, int64_t end, F&& f) const {
    for (int64_t first = begin; first < end; first += kWarp) {
      const int64_t p = first + threadIdx.x % kWarp;
      unsigned found = __ballot_sync(0xffffffffu, p < end && token_of(x[p < end ? p : begin], tokens) == token);
      for (; found != 0; found &= found - 1) {
        if (!f(first + __ffs(static_cast<int>(found)) - 1)) return;
      }
    }
  }

  __device__ void run(const Batch& batch) const {
    const int64_t places = places_of_sample * batch.rows;
    for_each_by_warp(places, [&](int64_t place) {
      const int64_t token = token_of(x[place], tokens);
      bool is_first = true;
      for_places(token, 0, place, [&](int64_t) { return is_first = false; });
      if (!is_first) return;
      for (int64_t j0 = threadIdx.x % kWarp; j0 - threadIdx.x % kWarp < columns; j0 += kColumns * kWarp) {
        float sums[kColumns] = {};
        for_places(token, place, places, [&](int64_t p) {
          ENGINE_UNROLL(4)
          for (int64_t c = 0; c < kColumns; ++c) {
            const int64_t j = j0 + c * kWarp;
            if (j < columns) sums[c] = sums[c] + dy[p * columns + j];
          }
          return true;
        });
        for (int64_t c = 0; c < kColumns; ++c) {
          const int64_t j = j0 + c * kWarp, at = token * columns + j;
          if (j >= columns) break;
          if (dtable) {
            dtable[at] = sums[c];
          } else {
            step_weight<AllOptimizers>(rule, table, at,
                                       sums[c] > limit    ? limit
                                       : sums[c] < -limit ? -limit
                                                          : sums[c],
                                       batch);
          }
        }
      }
    });
  }
};

struct ClearTable {
  float* dtable;
  __device__ void operator()(int64_t i, const Batch&) const { dtable[i] = 0.0f; }
};

void schedule_embed_gradient(Schedule& schedule, const graph::EmbedGradient& op) {
  if (!op.steps) {
    schedule.add(op, [&op](const RunMemory& memory) {
      return for_weights(memory, op.dtable, ClearTable{memory.scratch(op.dtable)});
    });
  }
  schedule.add(op, [&op](const RunMemory& memory) {
    const OptimizerSpec& optimizer = memory.training().optimizer;
    const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
    const Variable& table = memory.schedule.variable(op.dtable);
    const Placement& x = memory.schedule.placement(op.x);
    return EmbedGradient{memory.scratch(op.x),
                         memory.scratch(op.dy),
                         op.steps ? nullptr : memory.scratch(op.dtable),
                         memory.weights(op.steps ? op.table : kNoValue),
                         optimizer.kind,
                         by_value ? static_cast<float>(optimizer.limit) : formulas::kInfinity,
                         x.groups * x.columns,
                         memory.schedule.max_rows(),
                         table.rows,
                         table.columns};
  });
}

/// y[b,t] = how often x[b,:] holds token t, or only whether it does
struct EncodeTokens {
  const float* x;
  float* y;
  int64_t columns, tokens;
  bool counts;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float* const row = x + i / tokens * columns;
    float found = 0.0f;
    for (int64_t j = 0; j < columns; ++j) {
      if (token_of(row[j], tokens) == i % tokens) found = counts ? found + 1.0f : 1.0f;
    }
    y[i] = found;
  }
};

void schedule_encode(Schedule& schedule, const graph::EncodeTokens& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.y,
                        EncodeTokens{memory.scratch(op.x), memory.scratch(op.y),
                                     memory.schedule.placement(op.x).columns, op.tokens, op.counts});
  });
}

// ---- Masks and pooling ----------------------------------------------------------------------------------------------

/// factors[b,i] = 1 where row i of sample b holds another number than `value`, else 0; with `shares`, they are divided
/// by their sum over i. A warp has a sample.
struct RowFactors {
  const float* x;
  float* factors;
  int64_t count, columns, max_rows;  // rows of a sample, and numbers of each
  float value;
  bool shares;

  int64_t blocks() const { return blocks_for_warps(max_rows); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    for_each_by_warp(batch.rows, [&](int64_t b) {
      float* const own = factors + b * count;
      const auto is_kept = [&](int64_t i) {
        const float* const row = x + (b * count + i) * columns;
        for (int64_t j = 0; j < columns; ++j) {
          if (row[j] != value) return true;
        }
        return false;
      };
      const Row rows{count};
      rows.for_columns([&](int64_t i) { own[i] = is_kept(i) ? 1.0f : 0.0f; });
      if (!shares) return;
      const float kept = rows.total([&](int64_t i) { return own[i]; });
      if (kept > 0.0f) rows.for_columns([&](int64_t i) { own[i] = own[i] / kept; });
    });
  }
};

void schedule_row_factors(Schedule& schedule, const graph::RowFactors& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement &x = memory.schedule.placement(op.x), &factors = memory.schedule.placement(op.factors);
    const int64_t count = factors.groups * factors.columns;
    return RowFactors{memory.scratch(op.x),
                      memory.scratch(op.factors),
                      count,
                      x.groups * x.columns / count,
                      memory.schedule.max_rows(),
                      op.value,
                      op.shares};
  });
}

/// What the rows of samples are multiplied by: a factor of each, or one for all.
struct FactorsOfRows {
  const float* factors;  // (samples, count), or null
  float scale;
  __device__ float operator[](int64_t row) const { return factors ? factors[row] : scale; }
};

/// y[b,i,:] = factors[b,i] x[b,i,:], where x may have a single row for each sample
struct ScaleRows {
  const float* x;
  FactorsOfRows factors;
  float* y;
  int64_t count, columns;
  bool repeats;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t row = i / columns, j = i % columns;
    y[i] = x[repeats ? row / count * columns + j : i] * factors[row];
  }
};

void schedule_scale_rows(Schedule& schedule, const graph::ScaleRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement &x = memory.schedule.placement(op.x), &y = memory.schedule.placement(op.y);
    return for_elements(memory.schedule, op.y,
                        ScaleRows{memory.scratch(op.x),
                                  {memory.scratch(op.factors), op.scale},
                                  memory.scratch(op.y),
                                  y.groups,
                                  y.columns,
                                  x.groups < y.groups});
  });
}

/// y[b,n] = the sum over i of factors[b,i] x[b,i,n]
struct MeanOfRows {
  const float* x;
  FactorsOfRows factors;
  float* y;
  int64_t count, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t b = i / columns, j = i % columns;
    float sum = 0.0f;
    for (int64_t r = b * count; r < (b + 1) * count; ++r) sum = formulas::fma(x[r * columns + j], factors[r], sum);
    y[i] = sum;
  }
};

void schedule_mean_of_rows(Schedule& schedule, const graph::MeanOfRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    return for_elements(
        memory.schedule, op.y,
        MeanOfRows{
            memory.scratch(op.x), {memory.scratch(op.factors), op.scale}, memory.scratch(op.y), x.groups, x.columns});
  });
}

/// y[b,n] = the largest x[b,i,n]; a NaN among them gives a NaN
struct MaxOfRows {
  const float* x;
  float* y;
  int64_t count, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float* const own = x + i / columns * count * columns + i % columns;
    float most = own[0];
    for (int64_t r = 1; r < count; ++r) {
      const float next = own[r * columns];
      most = next <= most || most != most ? most : next;
    }
    y[i] = most;
  }
};

void schedule_max_of_rows(Schedule& schedule, const graph::MaxOfRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    return for_elements(memory.schedule, op.y,
                        MaxOfRows{memory.scratch(op.x), memory.scratch(op.y), x.groups, x.columns});
  });
}

/// dx[b,i,n] = dy[b,n], shared by the rows that are as large as y[b,n]; a thread has all rows of one column
struct MaxOfRowsGradient {
  const float *dy, *x, *y;
  float* dx;
  int64_t count, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t first = i / columns * count * columns + i % columns;
    float equal = 0.0f;
    for (int64_t r = 0; r < count; ++r) equal += x[first + r * columns] == y[i] ? 1.0f : 0.0f;
    const float share = dy[i] / equal;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t at = first + r * columns;
      dx[at] = x[at] == y[i] ? share : 0.0f;
    }
  }
};

void schedule_max_of_rows_gradient(Schedule& schedule, const graph::MaxOfRowsGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    return for_elements(memory.schedule, op.y,
                        MaxOfRowsGradient{memory.scratch(op.dy), memory.scratch(op.x), memory.scratch(op.y),
                                          memory.scratch(op.dx), x.groups, x.columns});
  });
}

}  // namespace

void add_rows_and_columns(Implementations& all) {
  all.add<graph::ColumnStatistics>(schedule_statistics);
  all.add<graph::RenormCorrections>(schedule_corrections);
  all.add<graph::UpdateAverages>(schedule_averages);
  all.add<graph::StandardizeColumns>(schedule_standardization);
  all.add<graph::StandardizeColumnsGradient>(schedule_standardization_gradient);
  all.add<graph::ColumnScale>(schedule_column_scale);
  all.add<graph::ColumnScaleInputGradient>(schedule_column_scale_input_gradient);
  all.add<graph::ColumnScaleWeightGradient>(schedule_column_scale_weight_gradient);
  all.add<graph::NormalizeRows>(schedule_normalize_rows);
  all.add<graph::NormalizeRowsGradient>(schedule_normalize_rows_gradient);
  all.add<graph::Embed>(schedule_embed);
  all.add<graph::EmbedGradient>(schedule_embed_gradient);
  all.add<graph::EncodeTokens>(schedule_encode);
  all.add<graph::RowFactors>(schedule_row_factors);
  all.add<graph::ScaleRows>(schedule_scale_rows);
  all.add<graph::MeanOfRows>(schedule_mean_of_rows);
  all.add<graph::MaxOfRows>(schedule_max_of_rows);
  all.add<graph::MaxOfRowsGradient>(schedule_max_of_rows_gradient);
}

}  // namespace engine::cuda
