// From stored gradients to new weights: penalties, accumulation, clipping, the rules' steps, averages, constraints.
#include <algorithm>
#include <cmath>

#include "cuda/column_sums.h"
#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "cuda/steps.h"
#include "cuda/warp_rows.h"
#include "formulas/weight_scales.h"
#include "graph/operations/optimizer.h"
#include "graph/operations/weight_penalty.h"

namespace engine::cuda {
namespace {

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

/// The sum of |x|, or of x^2, with one more term.
__device__ float with_term(bool squares, float sum, float x) {
  return squares ? formulas::fma(x, x, sum) : sum + formulas::abs(x);
}

/// sums[n] = the sum of |x[k,n]|, or of x[k,n]^2, over k
struct ColumnSums {
  static constexpr int kSums = 1;

  const float* x;
  float* to;
  int64_t row_count, columns;
  bool squares;
  bool before_steps;  // whether they are read only before weights are stepped

  __device__ bool is_wanted(const Batch& batch) const { return !before_steps || batch.steps_weights; }
  __device__ int64_t rows(const Batch&) const { return row_count; }
  __device__ void add(int64_t k, int64_t n, float (&sums)[kSums]) const {
    sums[0] = with_term(squares, sums[0], x[k * columns + n]);
  }
  __device__ void finish(int64_t n, const float (&sums)[kSums], const Batch&) const { to[n] = sums[0]; }
};

void schedule_sum_squares(Schedule& schedule, const graph::SumSquares& op) {
  const Variable& v = schedule.variable(op.x);
  add_column_sums(schedule, op, {v.rows, 0}, v.columns, [&op, &v](const RunMemory& memory) {
    return ColumnSums{memory.numbers(op.x), memory.scratch(op.squares), v.rows, v.columns, true, true};
  });
}

/// sums[s] = the sum over 16 rows of a narrow variable, by a warp
struct SliceSums {
  static constexpr int64_t kSlice = 16;
  const float* x;
  float* sums;
  int64_t rows, columns;
  bool squares;

  static int64_t slices(int64_t rows) { return (rows + kSlice - 1) / kSlice; }
  __device__ void operator()(int64_t s, const Batch&) const {
    const int64_t first = s * kSlice, count = first + kSlice < rows ? kSlice : rows - first;
    float sum[1];
    Row{count * columns}.sum(
        sum, [&](int64_t i, float* partial) { partial[0] = with_term(squares, partial[0], x[first * columns + i]); });
    if (threadIdx.x % kWarp == 0) sums[s] = sum[0];
  }
};

void schedule_weight_sums(Schedule& schedule, const graph::WeightSums& op) {
  const Variable& v = schedule.variable(op.weights);
  if (op.by_slice) {
    schedule.add(op, [&op, &v](const RunMemory& memory) {
      return for_row_count(
          SliceSums::slices(v.rows),
          SliceSums{memory.weights(op.weights).values, memory.scratch(op.sums), v.rows, v.columns, op.squares});
    });
    return;
  }
  add_column_sums(schedule, op, {v.rows, 0}, v.columns, [&op, &v](const RunMemory& memory) {
    return ColumnSums{memory.numbers(op.weights), memory.scratch(op.sums), v.rows, v.columns, op.squares, false};
  });
}

// ---- Factors made from the sums of squares --------------------------------------------------------------------------

/// Numbers that lie side by side; none: no sum is needed.
struct NumbersToAdd {
  const float* numbers;
  int64_t count;

  /// The sum of all, by the threads of a block.
  __device__ double total() const {
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += static_cast<double>(numbers[i]);
    return sum_of_block(sum);
  }
};

/// What the scale of one variable is made of.
struct VariableToScale {
  NumbersToAdd gradient_squares, weight_squares;  // sums of squares, by column
  int64_t weights;                                // of the variable
};

/// scales[i] = what the rule makes of the sums of squares of variable i, by a block for each. For kClipAll, squares[i]
/// = the sum of its squares.
struct ComputeScales {
  using Rule = graph::ComputeScales::Rule;
  static constexpr int kMaxVariables = 24;  // of one kernel, which gets them as arguments

  VariableToScale variables[kMaxVariables];
  int64_t count;
  Rule rule;
  double limit;
  float* scales;
  double* squares;

  int64_t blocks() const { return count; }
  int64_t shared_bytes() const { return kSumBytes; }
  __device__ void run(const Batch& batch) const {
    if (!batch.steps_weights) return;
    for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
      const VariableToScale& v = variables[i];
      const double gradient = v.gradient_squares.total(), weights = v.weight_squares.total();
      if (threadIdx.x != 0) continue;
      if (rule == Rule::kClipAll) {
        squares[i] = gradient;
      } else {
        scales[i] = static_cast<float>(scale(batch.step, gradient, weights, v.weights));
      }
    }
  }

  __device__ double scale(const OptimizerStep& step, double gradient_squares, double weight_squares,
                          int64_t count_of_weights) const {
    switch (rule) {
      case Rule::kClip:
        return formulas::clip_factor(gradient_squares, limit);
      case Rule::kTrust:
        return formulas::trust_length(step, weight_squares, gradient_squares);
      case Rule::kAdafactor:
        return formulas::adafactor_length(step, weight_squares, gradient_squares, count_of_weights);
      case Rule::kClipAll:  // ScaleByGlobalNorm does it
        break;
    }
    return 1.0;
  }
};

/// scales[i] = the factor that limits the norm of all gradients together, for each variable i
struct ScaleByGlobalNorm {
  const double* squares;  // of each variable
  float* scales;
  int64_t count;
  double limit;

  int64_t blocks() const { return 1; }
  int64_t shared_bytes() const { return kSumBytes; }
  __device__ void run(const Batch& batch) const {
    if (!batch.steps_weights) return;
    double sum = 0.0;
    for_each(count, [&](int64_t i) { sum += squares[i]; });
    const auto scale = static_cast<float>(formulas::clip_factor(sum_of_block(sum), limit));
    for_each(count, [&](int64_t i) { scales[i] = scale; });
  }
};

NumbersToAdd numbers_of(const RunMemory& memory, const std::vector<ValueId>& sums, size_t i) {
  const ValueId value = sums.empty() ? kNoValue : sums[i];
  return {memory.scratch(value), value == kNoValue ? 0 : memory.schedule.placement(value).columns};
}

VariableToScale variable_to_scale(const RunMemory& memory, const graph::ComputeScales& op, size_t i) {
  const Variable& v = memory.schedule.variable(op.weights[i]);
  return {numbers_of(memory, op.gradient_squares, i), numbers_of(memory, op.weight_squares, i), v.rows * v.columns};
}

void schedule_compute_scales(Schedule& schedule, const graph::ComputeScales& op) {
  const size_t count = op.weights.size(), most = ComputeScales::kMaxVariables;
  const bool is_global = op.rule == graph::ComputeScales::Rule::kClipAll;
  const int64_t squares =
      is_global ? schedule.add_scratch(static_cast<int64_t>(count * sizeof(double) / sizeof(float))) : 0;
  const auto squares_of = [squares](const RunMemory& memory) {
    return reinterpret_cast<double*>(memory.arguments.scratch + squares);
  };
  for (size_t first = 0; first < count; first += most) {
    schedule.add(op, [=, &op](const RunMemory& memory) {
      const OptimizerSpec& optimizer = memory.training().optimizer;
      const size_t here = std::min(most, count - first);
      ComputeScales step{{},
                         static_cast<int64_t>(here),
                         op.rule,
                         optimizer.limit,
                         memory.scratch(op.scales) + first,
                         is_global ? squares_of(memory) + first : nullptr};
      for (size_t i = 0; i < here; ++i) step.variables[i] = variable_to_scale(memory, op, first + i);
      return step;
    });
  }
  if (!is_global) return;
  schedule.add(op, [=, &op](const RunMemory& memory) {
    return ScaleByGlobalNorm{squares_of(memory), memory.scratch(op.scales), static_cast<int64_t>(count),
                             memory.training().optimizer.limit};
  });
}

// ---- Steps ----------------------------------------------------------------------------------------------------------

struct StepWeights {
  CardWeights weights;
  float* gradient;
  const float* scale;  // factor of the gradient, or null
  ValueClip clip;
  Optimizer rule;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (!batch.steps_weights) return;
    const float g = scale ? *scale * gradient[i] : gradient[i];
    const float direction = step_weight<AllOptimizers>(rule, weights, i, clip(g), batch);
    if (gives_direction(rule)) gradient[i] = direction;
  }
};

/// The rule by which a variable is stepped: Muon leaves some to Adam.
Optimizer rule_of(const RunMemory& memory, ValueId weights) {
  const OptimizerSpec& optimizer = memory.training().optimizer;
  const bool leaves_to_adam = !optimizer.orthogonalises(memory.schedule.value(weights).variable);
  return optimizer.kind == Optimizer::kMuon && leaves_to_adam ? Optimizer::kMuonAdam : optimizer.kind;
}

void schedule_step_weights(Schedule& schedule, const graph::StepWeights& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const float* const scale = op.scales == kNoValue ? nullptr : memory.scratch(op.scales) + op.place;
    return for_weights(memory, op.weights,
                       StepWeights{memory.weights(op.weights), memory.scratch(op.gradient), scale,
                                   value_clip(memory.training().optimizer), rule_of(memory, op.weights)});
  });
}

/// weights -= scale direction
struct MoveWeights {
  float* weights;
  const float *direction, *scale;  // the scale may be null, which is 1
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (batch.steps_weights) weights[i] = formulas::fma(scale ? -*scale : -1.0f, direction[i], weights[i]);
  }
};

void schedule_move_weights(Schedule& schedule, const graph::MoveWeights& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const float* const scale = op.scales == kNoValue ? nullptr : memory.scratch(op.scales) + op.place;
    return for_weights(memory, op.weights,
                       MoveWeights{memory.weights(op.weights).values, memory.scratch(op.gradient), scale});
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

/// Limits the norm of each row.
struct LimitRowNorms {
  float* weights;
  int64_t columns;
  NormLimits limits;
  __device__ void operator()(int64_t i, const Batch&) const {
    float* const weights_of_row = weights + i * columns;
    const Row row{columns};
    const float squares = row.total([&](int64_t j) { return weights_of_row[j] * weights_of_row[j]; });
    const float factor = formulas::constraint_factor(static_cast<double>(squares), limits);
    row.for_columns([&](int64_t j) { weights_of_row[j] = weights_of_row[j] * factor; });
  }
};

/// factors[n] = what limits the norm of column n
struct ColumnNormFactors {
  static constexpr int kSums = 1;

  const float* weights;
  float* factors;
  int64_t row_count, columns;
  NormLimits limits;

  __device__ bool is_wanted(const Batch&) const { return true; }
  __device__ int64_t rows(const Batch&) const { return row_count; }
  __device__ void add(int64_t k, int64_t n, float (&sums)[kSums]) const {
    sums[0] = with_term(true, sums[0], weights[k * columns + n]);
  }
  __device__ void finish(int64_t n, const float (&sums)[kSums], const Batch&) const {
    factors[n] = formulas::constraint_factor(static_cast<double>(sums[0]), limits);
  }
};

/// factors[0] = what limits the norm of all columns together, from their sums of squares
struct NormFactor {
  NumbersToAdd squares;
  float* factors;
  NormLimits limits;

  int64_t blocks() const { return 1; }
  int64_t shared_bytes() const { return kSumBytes; }
  __device__ void run(const Batch&) const {
    const float factor = formulas::constraint_factor(squares.total(), limits);
    if (threadIdx.x == 0) *factors = factor;
  }
};

struct ScaleWeights {
  float* weights;
  const float* factors;
  int64_t count;  // of factors: the columns of the variable, or 1
  __device__ void operator()(int64_t i, const Batch&) const { weights[i] = weights[i] * factors[i % count]; }
};

void schedule_row_norms(Schedule& schedule, const graph::ConstrainWeights& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& v = memory.schedule.variable(op.weights);
    return for_row_count(v.rows, LimitRowNorms{memory.weights(op.weights).values, v.columns, op.constraint.limits});
  });
}

/// Appends the kernels that leave the factors in scratch; returns where.
int64_t add_norm_factors(Schedule& schedule, const graph::ConstrainWeights& op, bool by_column) {
  const Variable& v = schedule.variable(op.weights);
  const int64_t factors = schedule.add_scratch(by_column ? v.columns : 1);
  if (by_column) {
    add_column_sums(schedule, op, {v.rows, 0}, v.columns, [=, &op, &v](const RunMemory& memory) {
      return ColumnNormFactors{memory.numbers(op.weights), memory.arguments.scratch + factors, v.rows, v.columns,
                               op.constraint.limits};
    });
    return factors;
  }
  const int64_t squares = schedule.add_scratch(v.columns);
  add_column_sums(schedule, op, {v.rows, 0}, v.columns, [=, &op, &v](const RunMemory& memory) {
    return ColumnSums{memory.numbers(op.weights), memory.arguments.scratch + squares, v.rows, v.columns, true, false};
  });
  schedule.add(op, [=, &op, &v](const RunMemory& memory) {
    return NormFactor{
        {memory.arguments.scratch + squares, v.columns}, memory.arguments.scratch + factors, op.constraint.limits};
  });
  return factors;
}

void schedule_constraint(Schedule& schedule, const graph::ConstrainWeights& op) {
  using Over = ConstraintSpec::Over;
  if (op.constraint.kind == ConstraintSpec::Kind::kNonNegative) {
    schedule.add(op, [&op](const RunMemory& memory) {
      return for_weights(memory, op.weights, SetNegativeToZero{memory.weights(op.weights).values});
    });
    return;
  }
  if (op.constraint.over == Over::kRow) return schedule_row_norms(schedule, op);
  const bool by_column = op.constraint.over == Over::kColumn;
  const int64_t factors = add_norm_factors(schedule, op, by_column);
  schedule.add(op, [=, &op](const RunMemory& memory) {
    return for_weights(memory, op.weights,
                       ScaleWeights{memory.weights(op.weights).values, memory.arguments.scratch + factors,
                                    by_column ? memory.schedule.variable(op.weights).columns : 1});
  });
}

}  // namespace

void add_optimizers(OperationRegistry& all) {
  all.add<graph::AddGradient>(schedule_add_gradient);
  all.add<graph::AccumulateGradient>(schedule_accumulate_gradient);
  all.add<graph::SumSquares>(schedule_sum_squares);
  all.add<graph::WeightSums>(schedule_weight_sums);
  all.add<graph::ComputeScales>(schedule_compute_scales);
  all.add<graph::StepWeights>(schedule_step_weights);
  all.add<graph::MoveWeights>(schedule_move_weights);
  all.add<graph::AverageWeights>(schedule_average_weights);
  all.add<graph::ConstrainWeights>(schedule_constraint);
}

}  // namespace engine::cuda
