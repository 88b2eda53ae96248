// Batch normalization: mean and variance of each column over the rows of a batch, and standardization by them. A thread
// owns columns and goes through all of their rows; sums over rows are chains of kChain terms, added in order.
#pragma once
#include "kernels/sums.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Calls f(counts), where counts(b) says whether the mask includes row b. Without a mask it includes every row, and
/// nothing is read.
template <class F>
ENGINE_INLINE void with_mask(const RowMask& rows, F&& f) {
  if (!rows.values) return f([](int64_t) { return true; });
  f([&](int64_t b) { return rows.values[b / rows.groups * rows.ld + b % rows.groups] != 0.0f; });
}

/// The number of rows that the mask includes, at least 1, to divide their sums by.
template <class Counts>
ENGINE_INLINE float divisor_of(Range rows, Counts&& counts) {
  int64_t counted = 0;
  for (int64_t b = rows.begin; b < rows.end; ++b) counted += counts(b);
  return static_cast<float>(counted == 0 ? 1 : counted);
}

/// mean = mean(x) and variance = mean((x - mean)^2) of each column, over the rows that the mask includes.
void column_statistics(const ColumnStatisticsArgs& op) {
  with_mask(op.mask, [&](const auto& counts) {
    const float count = divisor_of(op.rows, counts);
    for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
      const auto x = [&](int64_t b) { return load(op.x + b * op.ld + j); };
      const vf mean = sum_of_rows(op.rows, [&](int64_t b, vf sum) { return counts(b) ? sum + x(b) : sum; }) / count;
      const vf squares = sum_of_rows(op.rows, [&](int64_t b, vf sum) {
        const vf d = x(b) - mean;
        return counts(b) ? fma(d, d, sum) : sum;
      });
      store(op.mean + j, mean);
      store(op.variance + j, squares / count);
    }
  });
}

/// The factor that standardizes a column of the given variance.
ENGINE_INLINE vf factor_of(Spread spread, vf variance, float epsilon) {
  if (spread == Spread::kVariance) return 1.0f / sqrt(variance + epsilon);
  const vf deviation = sqrt(variance);
  const vf bounded = deviation < epsilon ? broadcast(epsilon) : deviation;
  return spread == Spread::kDeviation ? 1.0f / bounded : bounded;
}

/// y = factor (x - mean), or factor x + mean where the spread is kInverse.
void standardize_columns(const StandardizeColumnsArgs& op) {
  const bool inverts = op.spread == Spread::kInverse;
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    const vf mean = load(op.mean + j), factor = factor_of(op.spread, load(op.variance + j), op.epsilon);
    for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
      const int64_t at = b * op.ld + j;
      const vf x = load(op.x + at);
      store(op.y + at, inverts ? fma(x, factor, mean) : (x - mean) * factor);
    }
  }
}

/// dx = factor dy where mean and variance are constants. Where they are those of the batch, with y = factor (x - mean)
/// in `saved`: dx = factor (dy - mean(dy) - y mean(dy y)), with sums over all rows divided by the number of rows that
/// the mask includes, for these rows; factor dy for the others.
void standardize_columns_backward(const StandardizeColumnsArgs& op) {
  with_mask(op.mask, [&](const auto& counts) {
    const float count = divisor_of(op.rows, counts);
    for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
      const vf factor = factor_of(op.spread, load(op.variance + j), op.epsilon);
      const auto dy = [&](int64_t b) { return load(op.x + b * op.ld + j); };
      if (!op.saved) {
        for (int64_t b = op.rows.begin; b < op.rows.end; ++b) store(op.y + b * op.ld + j, dy(b) * factor);
        continue;
      }
      const auto y = [&](int64_t b) { return load(op.saved + b * op.ld + j); };
      const vf mean = sum_of_rows(op.rows, [&](int64_t b, vf sum) { return sum + dy(b); }) / count;
      const vf slope = sum_of_rows(op.rows, [&](int64_t b, vf sum) { return fma(dy(b), y(b), sum); }) / count;
      for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
        store(op.y + b * op.ld + j, factor * (counts(b) ? fma(-slope, y(b), dy(b) - mean) : dy(b)));
      }
    }
  });
}

/// average = momentum average + (1 - momentum) value
void moving_average(const MovingAverageArgs& op) {
  const vf kept = broadcast(static_cast<float>(op.momentum)), taken = broadcast(static_cast<float>(1.0 - op.momentum));
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    store(op.average + j, fma(load(op.average + j), kept, load(op.value + j) * taken));
  }
}

/// Batch renormalization (Ioffe 2017): r = deviation / running deviation and d = (mean - running mean) / running
/// deviation, within their limits. The running deviation is taken to be at least sqrt(epsilon), that of variance 0.
void corrections(const CorrectionsArgs& op) {
  const vf least = sqrt(broadcast(op.epsilon));
  const auto low = [](vf x, float bound) { return x < bound ? broadcast(bound) : x; };
  const auto high = [](vf x, float bound) { return x > bound ? broadcast(bound) : x; };
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    const vf deviation = sqrt(load(op.variance + j) + op.epsilon), running = load(op.running_deviation + j);
    const vf divisor = running < least ? least : running;
    store(op.r + j, high(low(deviation / divisor, op.limits.rmin), op.limits.rmax));
    const vf d = (load(op.mean + j) - load(op.running_mean + j)) / divisor;
    store(op.d + j, high(low(d, -op.limits.dmax), op.limits.dmax));
    store(op.deviation + j, deviation);
  }
}

/// variance = max(deviation^2 - epsilon, 0).
void variance_of(const VarianceOfArgs& op) {
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    const vf deviation = load(op.deviation + j), variance = deviation * deviation - op.epsilon;
    store(op.variance + j, variance > 0.0f ? variance : vf{});
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
