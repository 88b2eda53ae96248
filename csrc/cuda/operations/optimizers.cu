// From stored gradients to new weights: penalties, accumulation, clipping, the rules' steps, averages, constraints.
#include <algorithm>
#include <cmath>

#include "cuda/column_sums.h"
#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "cuda/steps.h"
#include "cuda/warp_rows.h"
#include "graph/operations/optimizer.h"
#include "graph/operations/weight_penalty.h"

namespace engine::cuda {
namespace {

/// The slots of Adafactor's running means.
constexpr int kColumnMeans = 1, kRowMeans = 2;

// ---- Gradients ------------------------------------------------------------------------------------------------------

struct AddGradient {
  const float* gradient;
  float* sum;
  __device__ void operator()(int64_t i, const Batch&) const { sum[i] = sum[i] + gradient[i]; }
};

void schedule_add_gradient(Schedule& schedule, const graph::AddGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_weights(memory, op.sum, AddGradient{memory.scratch(op.gradient), memory.scratch(op.sum)});
  });
}

/// The sum over the batches of a step; after the last of them, the gradient is their mean.
struct AccumulateGradient {
  float *gradient, *sum;
  float count;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const float total = sum[i] + gradient[i];
    if (batch.steps_weights) gradient[i] = (gradient[i] + sum[i]) / count;
    sum[i] = batch.steps_weights ? 0.0f : total;
  }
};

void schedule_accumulate_gradient(Schedule& schedule, const graph::AccumulateGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const OptimizerStateView& state = memory.arguments.state;
    float* const sums = state.accumulated + state.offsets[memory.schedule.value(op.weights).variable];
    const auto count = static_cast<float>(memory.training().optimizer.accumulate);
    return for_weights(memory, op.weights, AccumulateGradient{memory.scratch(op.gradient), sums, count});
  });
}

// ---- Sums over the weights of a variable ----------------------------------------------------------------------------

/// sums[n] = the sum of |x[k,n]|, or of x[k,n]^2, over k: a thread for each column.
struct ColumnSums {
  const float* x;
  float* sums;
  int64_t rows, columns;
  bool squares;
  __device__ void operator()(int64_t n, const Batch&) const {
    float sum = 0.0f;
    for (int64_t k = 0; k < rows; ++k) {
      const float value = x[k * columns + n];
      sum = squares ? formulas::fma(value, value, sum) : sum + formulas::abs(value);
    }
    sums[n] = sum;
  }
};

Elements<ColumnSums> column_sums(const RunMemory& memory, const Variable& v, ValueId x, ValueId sums, bool squares) {
  return {v.columns, 0, 0, ColumnSums{memory.numbers(x), memory.scratch(sums), v.rows, v.columns, squares}};
}

void schedule_sum_squares(Schedule& schedule, const graph::SumSquares& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& v = memory.schedule.graph().variables()[memory.schedule.value(op.x).variable];
    return column_sums(memory, v, op.x, op.squares, true);
  });
}

/// sums[s] = the sum over 16 rows of a variable, so that the penalty of a narrow matrix has more than a few threads.
struct SliceSums {
  static constexpr int64_t kSlice = 16;
  const float* x;
  float* sums;
  int64_t numbers, numbers_of_slice;
  bool squares;
  __device__ void operator()(int64_t s, const Batch&) const {
    float sum = 0.0f;
    for (int64_t i = s * numbers_of_slice; i < numbers && i < (s + 1) * numbers_of_slice; ++i) {
      sum = squares ? formulas::fma(x[i], x[i], sum) : sum + formulas::abs(x[i]);
    }
    sums[s] = sum;
  }
};

void schedule_weight_sums(Schedule& schedule, const graph::WeightSums& op) {
  if (!op.by_slice) {
    schedule.add(op, [&op](const RunMemory& memory) {
      return column_sums(memory, memory.schedule.variable(op.weights), op.weights, op.sums, op.squares);
    });
    return;
  }
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& v = memory.schedule.variable(op.weights);
    const int64_t slices = (v.rows + SliceSums::kSlice - 1) / SliceSums::kSlice;
    return Elements<SliceSums>{slices, 0, 0,
                               SliceSums{memory.weights(op.weights).values, memory.scratch(op.sums), v.rows * v.columns,
                                         SliceSums::kSlice * v.columns, op.squares}};
  });
}

// ---- Factors made from the sums of squares --------------------------------------------------------------------------

/// A variable's sums of squares by column, in the order in which the optimizer learns the variables.
struct ColumnSquares {
  const float* sums;
  int64_t columns;
  __device__ double total() const {
    double all = 0.0;
    for (int64_t j = 0; j < columns; ++j) all += static_cast<double>(sums[j]);
    return all;
  }
};

/// scales[place] = what is made of the sums of squares of one variable: a thread adds them, as they are few.
struct ScaleOfVariable {
  using Rule = graph::ComputeScales::Rule;
  static constexpr double kTiny = 1e-7;  // Keras' guard against a norm of zero

  ColumnSquares gradient, weights;
  const float* row_means;  // of Adafactor: one for each row of the variable
  int64_t rows, columns, longest_side;
  Rule rule;
  double limit, rms_rate;
  float* scale;

  int64_t blocks() const { return 1; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    if (threadIdx.x != 0 || blockIdx.x != 0 || !batch.steps_weights) return;
    *scale = static_cast<float>(value(batch.step));
  }

  __device__ double value(const OptimizerStep& step) const {
    switch (rule) {
      case Rule::kClip: {
        const double norm = ::sqrt(gradient.total());
        return limit / (norm > limit ? norm : limit);
      }
      case Rule::kRowMean: {
        double total = 0.0;
        for (int64_t i = 0; row_means && i < rows; ++i) total += static_cast<double>(row_means[i * columns]);
        return total / static_cast<double>(rows);
      }
      case Rule::kTrust: {
        const double of_weights = ::sqrt(weights.total()), of_gradient = ::sqrt(gradient.total());
        return step.learning_rate * (of_weights > 0.0 && of_gradient > 0.0 ? of_weights / of_gradient : 1.0);
      }
      case Rule::kAdafactor: {
        const auto count = static_cast<double>(rows * columns);
        const double w = ::sqrt(weights.total() / count), u = ::sqrt(gradient.total() / count);
        const double smallest = step.parameters[2], threshold = step.parameters[3];
        const double slowest = 1.0 / ::sqrt(static_cast<double>(step.iteration));
        const double rate = step.learning_rate < slowest ? step.learning_rate : slowest;
        return rate * (w > smallest ? w : smallest) / (u > threshold ? u / threshold : 1.0);
      }
      case Rule::kUnit:
        return gradient.sums ? 1.0 / (::sqrt(gradient.total()) + kTiny) : 0.0;
      case Rule::kMuon:
        return step.learning_rate * (rms_rate > 0.0 ? rms_rate * ::sqrt(static_cast<double>(longest_side)) : 1.0);
      case Rule::kClipAll:  // AddToNorm does it
        break;
    }
    return 1.0;
  }
};

/// scratch += one variable's sum of squares; after the last of them, the scale that limits the norm of all gradients.
struct AddToNorm {
  ColumnSquares gradient;
  double* squares;
  bool first, last;
  double limit;
  float* scales;
  int64_t count;

  int64_t blocks() const { return 1; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    if (threadIdx.x != 0 || blockIdx.x != 0 || !batch.steps_weights) return;
    const double total = (first ? 0.0 : *squares) + gradient.total();
    *squares = total;
    if (!last) return;
    const double norm = ::sqrt(total);
    for (int64_t i = 0; i < count; ++i) scales[i] = static_cast<float>(limit / (norm > limit ? norm : limit));
  }
};

ColumnSquares squares_of(const RunMemory& memory, ValueId sums) {
  return {memory.scratch(sums), sums == kNoValue ? 0 : memory.schedule.placement(sums).columns};
}

void schedule_compute_scales(Schedule& schedule, const graph::ComputeScales& op) {
  using Rule = graph::ComputeScales::Rule;
  const size_t count = op.weights.size();
  if (op.rule == Rule::kClipAll) {
    const int64_t squares = schedule.add_scratch(sizeof(double) / sizeof(float));
    for (size_t i = 0; i < count; ++i) {
      schedule.add(op, [&op, i, count, squares](const RunMemory& memory) {
        return AddToNorm{squares_of(memory, op.gradient_squares[i]),
                         reinterpret_cast<double*>(memory.arguments.scratch + squares),
                         i == 0,
                         i + 1 == count,
                         memory.training().optimizer.limit,
                         memory.scratch(op.scales),
                         static_cast<int64_t>(count)};
      });
    }
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    schedule.add(op, [&op, i](const RunMemory& memory) {
      const Variable& v = memory.schedule.variable(op.weights[i]);
      const auto of_variable = [&](const std::vector<ValueId>& sums) {
        return squares_of(memory, sums.empty() ? kNoValue : sums[i]);
      };
      const bool has_row_means = op.rule == Rule::kRowMean && v.is_matrix();
      return ScaleOfVariable{of_variable(op.gradient_squares),
                             of_variable(op.weight_squares),
                             has_row_means ? memory.weights(op.weights[i]).slots[kRowMeans] : nullptr,
                             v.rows,
                             v.columns,
                             std::max(v.height(), v.width()),
                             op.rule,
                             memory.training().optimizer.limit,
                             memory.training().optimizer.rms_rate,
                             memory.scratch(op.scales) + i};
    });
  }
}

// ---- Adafactor ------------------------------------------------------------------------------------------------------

/// The running means of Adafactor for a matrix (Shazeer & Stern 2018): mean = (1 - s) mean + s (now + epsilon), with s
/// the share of this step.
__device__ float next_mean(float mean, double squares, int64_t count, const Batch& batch) {
  const auto& c = *reinterpret_cast<const formulas::Adafactor<float>::Coefficients*>(batch.coefficients);
  const double now = squares / static_cast<double>(count) + batch.step.parameters[1];
  return static_cast<float>(static_cast<double>(c.keep) * static_cast<double>(mean) +
                            static_cast<double>(c.rest) * now);
}

/// The means of the squares in each row, by a warp for each.
struct FactoredRows {
  const float* gradient;
  float* means;  // in the first column
  int64_t rows, columns;

  int64_t blocks() const { return blocks_for_warps(rows); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    if (!batch.steps_weights) return;
    for_each_by_warp(rows, [&](int64_t i) {
      const float* const own = gradient + i * columns;
      const double squares = Row{columns}.total([&](int64_t j) { return own[j] * own[j]; });
      if (threadIdx.x % kWarp == 0) means[i * columns] = next_mean(means[i * columns], squares, columns, batch);
    });
  }
};

/// The means of the squares in each column, in the first row.
struct FactoredColumns {
  const float* gradient;
  float* means;
  int64_t rows, columns;

  int64_t blocks() const { return blocks_for_columns(columns); }
  int64_t shared_bytes() const { return kColumnSumBytes; }
  __device__ void run(const Batch& batch) const {
    if (!batch.steps_weights) return;
    for_each_column_of_blocks(columns, [&](int64_t j) {
      const double squares = sum_of_rows(rows, j < columns, [&](int64_t i, float sum) {
        const float g = gradient[i * columns + j];
        return formulas::fma(g, g, sum);
      });
      if (j < columns && threadIdx.x < kWarp) means[j] = next_mean(means[j], squares, rows, batch);
    });
  }
};

void schedule_factored_means(Schedule& schedule, const graph::FactoredMeans& op) {
  if (op.of_rows) {
    schedule.add(op, [&op](const RunMemory& memory) {
      const Variable& v = memory.schedule.variable(op.weights);
      return FactoredRows{memory.scratch(op.gradient), memory.weights(op.weights).slots[kRowMeans], v.rows, v.columns};
    });
    return;
  }
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& v = memory.schedule.variable(op.weights);
    return FactoredColumns{memory.scratch(op.gradient), memory.weights(op.weights).slots[kColumnMeans], v.rows,
                           v.columns};
  });
}

/// v = r c / mean(r), and gradient /= sqrt(v)
struct FactoredDirection {
  const float *row_means, *column_means, *mean;
  float *v, *gradient;
  int64_t columns;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (!batch.steps_weights) return;
    const int64_t j = i % columns;
    v[i] = row_means[i - j] / *mean * column_means[j];
    gradient[i] = gradient[i] / formulas::sqrt(v[i]);
  }
};

void schedule_factored_direction(Schedule& schedule, const graph::FactoredDirection& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Weights w = memory.weights(op.weights);
    return for_weights(
        memory, op.weights,
        FactoredDirection{w.slots[kRowMeans], w.slots[kColumnMeans], memory.scratch(op.scales) + op.place, w.slots[0],
                          memory.scratch(op.gradient), memory.schedule.variable(op.weights).columns});
  });
}

/// All of this for each matrix of a stack of small ones, such as the gain of a normalization over two axes, by a
/// thread.
struct FactoredFlat {
  float *gradients, *all_v, *row_means, *column_means;
  int64_t rows, columns;  // of a matrix
  __device__ void operator()(int64_t m, const Batch& batch) const {
    if (!batch.steps_weights) return;
    const int64_t first = m * rows * columns;
    float *const g = gradients + first, *const v = all_v + first, *const r = row_means + first,
                 *const c = column_means + first;
    const auto square = [&](int64_t i, int64_t j) {
      return static_cast<double>(g[i * columns + j]) * static_cast<double>(g[i * columns + j]);
    };
    double total = 0.0;
    for (int64_t i = 0; i < rows; ++i) {
      double squares = 0.0;
      for (int64_t j = 0; j < columns; ++j) squares += square(i, j);
      r[i * columns] = next_mean(r[i * columns], squares, columns, batch);
      total += static_cast<double>(r[i * columns]);
    }
    for (int64_t j = 0; j < columns; ++j) {
      double squares = 0.0;
      for (int64_t i = 0; i < rows; ++i) squares += square(i, j);
      c[j] = next_mean(c[j], squares, rows, batch);
    }
    const auto mean = static_cast<float>(total / static_cast<double>(rows));
    for (int64_t i = 0; i < rows * columns; ++i) {
      v[i] = r[i / columns * columns] / mean * c[i % columns];
      g[i] = g[i] / formulas::sqrt(v[i]);
    }
  }
};

void schedule_factored_flat(Schedule& schedule, const graph::FactoredFlat& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& v = memory.schedule.variable(op.weights);
    const Weights w = memory.weights(op.weights);
    return Elements<FactoredFlat>{
        v.columns / (v.height() * v.width()),
        0,
        0,
        {memory.scratch(op.gradient), w.slots[0], w.slots[kRowMeans], w.slots[kColumnMeans], v.height(), v.width()}};
  });
}

// ---- Steps ----------------------------------------------------------------------------------------------------------

struct StepWeights {
  Weights weights;
  float* gradient;
  const float* scale;  // factor of the gradient, or null
  float limit;         // of the gradient's elements
  Optimizer rule;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (!batch.steps_weights) return;
    const float g = scale ? *scale * gradient[i] : gradient[i];
    const float clipped = g > limit ? limit : g < -limit ? -limit : g;
    const float direction = step_weight<AllOptimizers>(rule, weights, i, clipped, batch);
    if (gives_direction(rule)) gradient[i] = direction;
  }
};

/// The rule by which a variable is stepped: Adafactor keeps factors for matrices, and Muon leaves some variables to
/// Adam.
Optimizer rule_of(const RunMemory& memory, ValueId weights) {
  const OptimizerSpec& optimizer = memory.training().optimizer;
  const Variable& v = memory.schedule.variable(weights);
  if (optimizer.kind == Optimizer::kAdafactor && (v.is_matrix() || v.is_flat())) return Optimizer::kFactored;
  const bool leaves_to_adam = !optimizer.orthogonalises(memory.schedule.value(weights).variable);
  return optimizer.kind == Optimizer::kMuon && leaves_to_adam ? Optimizer::kMuonAdam : optimizer.kind;
}

void schedule_step_weights(Schedule& schedule, const graph::StepWeights& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const OptimizerSpec& optimizer = memory.training().optimizer;
    const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
    const float limit = by_value ? static_cast<float>(optimizer.limit) : formulas::kInfinity;
    const float* const scale = op.scales == kNoValue ? nullptr : memory.scratch(op.scales) + op.place;
    return for_weights(memory, op.weights,
                       StepWeights{memory.weights(op.weights), memory.scratch(op.gradient), scale, limit,
                                   rule_of(memory, op.weights)});
  });
}

/// weights -= scale direction
struct MoveWeights {
  float* weights;
  const float *direction, *scale;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (batch.steps_weights) weights[i] = formulas::fma(-*scale, direction[i], weights[i]);
  }
};

void schedule_move_weights(Schedule& schedule, const graph::MoveWeights& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_weights(memory, op.weights,
                       MoveWeights{memory.weights(op.weights).values, memory.scratch(op.gradient),
                                   memory.scratch(op.scales) + op.place});
  });
}

/// The running mean of the weights follows them, and replaces them every so many steps.
struct AverageWeights {
  float *weights, *mean;
  float momentum, rest;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const bool starts = batch.step.iteration == 1;
    const float moved = starts ? weights[i] : formulas::fma(momentum, mean[i], rest * weights[i]);
    mean[i] = moved;
    if (batch.overwrites) weights[i] = moved;
  }
};

void schedule_average_weights(Schedule& schedule, const graph::AverageWeights& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const OptimizerStateView& state = memory.arguments.state;
    const double momentum = memory.training().optimizer.average_momentum;
    float* const mean = state.averages + state.offsets[memory.schedule.value(op.weights).variable];
    return for_weights(memory, op.weights,
                       AverageWeights{memory.weights(op.weights).values, mean, static_cast<float>(momentum),
                                      static_cast<float>(1.0 - momentum)});
  });
}

// ---- Constraints ----------------------------------------------------------------------------------------------------

struct SetNegativeToZero {
  float* weights;
  __device__ void operator()(int64_t i, const Batch&) const { weights[i] = weights[i] < 0.0f ? 0.0f : weights[i]; }
};

/// Limits the norm of `count` weights for each thread, those of a column, of a row, or of all.
struct LimitNorm {
  float* weights;
  int64_t first_step, stride, count;  // thread i has weights i * first_step + j * stride
  NormLimits limits;
  __device__ void operator()(int64_t i, const Batch&) const {
    constexpr double kNormEpsilon = 1e-7;  // Keras' `backend.epsilon()`
    float* const own = weights + i * first_step;
    double squares = 0.0;
    for (int64_t j = 0; j < count; ++j) squares += static_cast<double>(own[j * stride]) * own[j * stride];
    const double norm = ::sqrt(squares);
    const double clipped = norm < limits.low ? limits.low : norm > limits.high ? limits.high : norm;
    const auto factor =
        static_cast<float>((limits.rate * clipped + (1.0 - limits.rate) * norm) / (kNormEpsilon + norm));
    for (int64_t j = 0; j < count; ++j) own[j * stride] = own[j * stride] * factor;
  }
};

void schedule_constraint(Schedule& schedule, const graph::ConstrainWeights& op) {
  using Over = ConstraintSpec::Over;
  if (op.constraint.kind == ConstraintSpec::Kind::kNonNegative) {
    schedule.add(op, [&op](const RunMemory& memory) {
      return for_weights(memory, op.weights, SetNegativeToZero{memory.weights(op.weights).values});
    });
    return;
  }
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& v = memory.schedule.variable(op.weights);
    float* const weights = memory.weights(op.weights).values;
    const NormLimits& limits = op.constraint.limits;
    switch (op.constraint.over) {
      case Over::kColumn:
        return Elements<LimitNorm>{v.columns, 0, 0, LimitNorm{weights, 1, v.columns, v.rows, limits}};
      case Over::kRow:
        return Elements<LimitNorm>{v.rows, 0, 0, LimitNorm{weights, v.columns, 1, v.columns, limits}};
      case Over::kAll:
        break;
    }
    return Elements<LimitNorm>{1, 0, 0, LimitNorm{weights, 0, 1, v.rows * v.columns, limits}};
  });
}

}  // namespace

void add_optimizers(Implementations& all) {
  all.add<graph::AddGradient>(schedule_add_gradient);
  all.add<graph::AccumulateGradient>(schedule_accumulate_gradient);
  all.add<graph::SumSquares>(schedule_sum_squares);
  all.add<graph::WeightSums>(schedule_weight_sums);
  all.add<graph::ComputeScales>(schedule_compute_scales);
  all.add<graph::StepWeights>(schedule_step_weights);
  all.add<graph::FactoredMeans>(schedule_factored_means);
  all.add<graph::FactoredDirection>(schedule_factored_direction);
  all.add<graph::FactoredFlat>(schedule_factored_flat);
  all.add<graph::MoveWeights>(schedule_move_weights);
  all.add<graph::AverageWeights>(schedule_average_weights);
  all.add<graph::ConstrainWeights>(schedule_constraint);
}

}  // namespace engine::cuda
