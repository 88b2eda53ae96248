// From stored gradients to new weights: penalties, accumulation, clipping, the rules' steps, averages, constraints.
#include <cmath>
#include <stdexcept>

#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "cuda/steps.h"
#include "graph/operations/optimizer.h"
#include "graph/operations/weight_penalty.h"

namespace engine::cuda {
namespace {

/// A step with a thread for each weight of a variable, for which f(i, batch) is called.
template <class F>
Elements<F> for_weights(const RunMemory& memory, ValueId variable, F f) {
  const Variable& v = memory.schedule.variable(variable);
  return {v.rows * v.columns, 0, 0, f};
}

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

/// gradient += l1 sign(w) + 2 l2 w; the slope of |w| at 0 is 1, as in JAX.
struct AddPenaltyGradient {
  const float* weights;
  float* gradient;
  float l1, l2_slope;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float w = weights[i];
    gradient[i] = formulas::fma(l2_slope, w, gradient[i] + (w < 0.0f ? -l1 : l1));
  }
};

void schedule_penalty_gradient(Schedule& schedule, const graph::AddPenaltyGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    if (!memory.training().losses.empty() && memory.training().losses[0].divides_penalties) {
      throw std::invalid_argument(
          "a GPU can't divide penalties on weights by the number of samples yet, as scikit-learn's estimators do: use "
          "the CPU, after engine.config.set_device('cpu')");
    }
    return for_weights(memory, op.weights,
                       AddPenaltyGradient{memory.weights(op.weights).values, memory.scratch(op.gradient),
                                          static_cast<float>(op.l1), static_cast<float>(2.0 * op.l2)});
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
  ColumnSquares gradient, weights;
  graph::ComputeScales::Rule rule;
  double limit;
  float* scale;

  int64_t blocks() const { return 1; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    if (threadIdx.x != 0 || blockIdx.x != 0 || !batch.steps_weights) return;
    const double of_gradient = ::sqrt(gradient.total());
    if (rule == graph::ComputeScales::Rule::kClip) {
      *scale = static_cast<float>(limit / (of_gradient > limit ? of_gradient : limit));
      return;
    }
    const double of_weights = ::sqrt(weights.total());
    const double ratio = of_weights > 0.0 && of_gradient > 0.0 ? of_weights / of_gradient : 1.0;
    *scale = static_cast<float>(batch.step.learning_rate * ratio);
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
  if (op.rule != Rule::kClip && op.rule != Rule::kTrust) {
    throw std::invalid_argument(
        "a GPU can't train with Adafactor or Muon yet: take another optimizer, or the CPU, after "
        "engine.config.set_device('cpu')");
  }
  for (size_t i = 0; i < count; ++i) {
    schedule.add(op, [&op, i](const RunMemory& memory) {
      const ValueId weights = op.weight_squares.empty() ? kNoValue : op.weight_squares[i];
      return ScaleOfVariable{squares_of(memory, op.gradient_squares[i]), squares_of(memory, weights), op.rule,
                             memory.training().optimizer.limit, memory.scratch(op.scales) + i};
    });
  }
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

void schedule_step_weights(Schedule& schedule, const graph::StepWeights& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const OptimizerSpec& optimizer = memory.training().optimizer;
    const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
    const float limit = by_value ? static_cast<float>(optimizer.limit) : formulas::kInfinity;
    const float* const scale = op.scales == kNoValue ? nullptr : memory.scratch(op.scales) + op.place;
    return for_weights(
        memory, op.weights,
        StepWeights{memory.weights(op.weights), memory.scratch(op.gradient), scale, limit, optimizer.kind});
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
  all.add<graph::AddPenaltyGradient>(schedule_penalty_gradient);
  all.add<graph::SumSquares>(schedule_sum_squares);
  all.add<graph::WeightSums>(schedule_weight_sums);
  all.add<graph::ComputeScales>(schedule_compute_scales);
  all.add<graph::StepWeights>(schedule_step_weights);
  all.add<graph::MoveWeights>(schedule_move_weights);
  all.add<graph::AverageWeights>(schedule_average_weights);
  all.add<graph::ConstrainWeights>(schedule_constraint);
}

}  // namespace engine::cuda
