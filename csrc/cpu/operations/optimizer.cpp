// From stored gradients to new weights: one thread's share of each operation of graph/operations/optimizer.h.
#include "graph/operations/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/kernel_choice.h"
#include "cpu/scheduler.h"
#include "formulas/weight_scales.h"

namespace engine::cpu {
namespace {

const Variable& variable_of(const Scheduler& scheduler, ValueId value) {
  return scheduler.graph().variables()[scheduler.value(value).variable];
}

/// Each weight is stepped by the thread that computes its gradient.
template <class Op>
Split split_by_weights(const Scheduler& scheduler, const Op& op) {
  return split_weights(variable_of(scheduler, op.weights), scheduler.threads());
}

void add_gradient(const graph::AddGradient& op, const ThreadContext& thread) {
  float *from = thread.data(op.gradient), *sum = thread.data(op.sum);
  thread.for_panels(thread.variable(op.sum), [&](const Panel& panel, Range rows) {
    thread.kernels.accumulate({from + panel.offset, sum + panel.offset, panel.width, rows, panel.columns});
  });
}

Split split_add_gradient(const Scheduler& scheduler, const graph::AddGradient& op) {
  return split_weights(variable_of(scheduler, op.sum), scheduler.threads());
}

void accumulate_gradient(const graph::AccumulateGradient& op, const ThreadContext& thread) {
  const int64_t count = thread.optimizer().accumulate;
  float *gradient = thread.data(op.gradient), *sums = thread.run.state.accumulated + thread.state_offset(op.weights);
  thread.for_panels(thread.variable(op.weights), [&](const Panel& panel, Range rows) {
    const WeightBlock block{gradient + panel.offset, sums + panel.offset, panel.width, rows, panel.columns};
    if (thread.steps_weights()) {
      thread.kernels.take_mean(block, count);
    } else {
      thread.kernels.accumulate(block);
    }
  });
}

void sum_squares(const graph::SumSquares& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  const Variable& v = thread.variable(op.x);
  const bool of_weights = thread.schedule.value(op.x).kind == graph::Value::Kind::kVariable;
  const float* values = of_weights ? thread.weights(op.x).values : thread.data(op.x);
  float* sums = thread.data(op.squares);
  Panels(v.rows, v.columns).each(thread.padded('n', v.columns), [&](const Panel& panel) {
    thread.kernels.squared_sums({values + panel.offset, panel.width, v.rows, sums + panel.first, panel.columns});
  });
}

// ---- Factors made from the sums of squares --------------------------------------------------------------------

/// The sum over all columns, in their order.
double squared_norm(const ThreadContext& thread, ValueId squares) {
  const float* sums = thread.data(squares);
  double total = 0.0;
  for (int64_t j = 0; j < thread.placement(squares).columns; ++j) total += static_cast<double>(sums[j]);
  return total;
}

double scale_of(const graph::ComputeScales& op, const ThreadContext& thread, size_t i) {
  using Rule = graph::ComputeScales::Rule;
  const OptimizerStep& step = thread.optimizer_step();
  const double limit = thread.optimizer().limit;
  const auto of_gradient = [&] { return squared_norm(thread, op.gradient_squares[i]); };
  const auto of_weights = [&] { return squared_norm(thread, op.weight_squares[i]); };
  switch (op.rule) {
    case Rule::kClip:
      return formulas::clip_factor(of_gradient(), limit);
    case Rule::kClipAll: {
      double squares = 0.0;
      for (const ValueId each : op.gradient_squares) squares += squared_norm(thread, each);
      return formulas::clip_factor(squares, limit);
    }
    case Rule::kTrust:
      return formulas::trust_length(step, of_weights(), of_gradient());
    case Rule::kAdafactor: {
      const Variable& v = thread.variable(op.weights[i]);
      return formulas::adafactor_length(step, of_weights(), of_gradient(), v.rows * v.columns);
    }
  }
  return 1.0;
}

void compute_scales(const graph::ComputeScales& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  float* scales = thread.data(op.scales);
  for (size_t i = 0; i < op.weights.size(); ++i) {
    const bool same_for_all = op.rule == graph::ComputeScales::Rule::kClipAll && i > 0;
    scales[i] = same_for_all ? scales[0] : static_cast<float>(scale_of(op, thread, i));
  }
}

// ---- Steps ----------------------------------------------------------------------------------------------------------

/// The rule by which a variable is stepped: Muon leaves some to Adam.
Optimizer rule_of(const ThreadContext& thread, ValueId weights) {
  const OptimizerSpec& optimizer = thread.optimizer();
  const bool leaves_to_adam = !optimizer.orthogonalises(thread.variable_of(weights));
  return optimizer.kind == Optimizer::kMuon && leaves_to_adam ? Optimizer::kMuonAdam : optimizer.kind;
}

void step_weights(const graph::StepWeights& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  const OptimizerSpec& optimizer = thread.optimizer();
  const float factor = op.scales == kNoValue ? 1.0f : thread.data(op.scales)[op.place];
  const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
  const auto limit = by_value ? static_cast<float>(optimizer.limit) : std::numeric_limits<float>::infinity();
  const OptimizerStep& step = thread.optimizer_step();
  const Weights weights = thread.weights(op.weights);
  float* gradient = thread.data(op.gradient);
  const auto run = thread.kernels.step_weights[index(rule_of(thread, op.weights))];
  thread.for_panels(thread.variable(op.weights), [&](const Panel& panel, Range rows) {
    run({shifted(weights, panel.offset), gradient + panel.offset, panel.width, rows, panel.columns, step, factor,
         limit});
  });
}

void move_weights(const graph::MoveWeights& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  float *weights = thread.weights(op.weights).values, *direction = thread.data(op.gradient);
  const float scale = op.scales == kNoValue ? 1.0f : thread.data(op.scales)[op.place];
  thread.for_panels(thread.variable(op.weights), [&](const Panel& panel, Range rows) {
    thread.kernels.subtract({weights + panel.offset, direction + panel.offset, panel.width, rows, panel.columns},
                            scale);
  });
}

/// Keras' first steps copy the weights, and so does every batch before the first step.
void average_weights(const graph::AverageWeights& op, const ThreadContext& thread) {
  const OptimizerSpec& optimizer = thread.optimizer();
  const int64_t number = thread.optimizer_step().iteration;
  const bool overwrite = optimizer.overwrite > 0 && number % optimizer.overwrite == 0;
  float *weights = thread.weights(op.weights).values,
        *averages = thread.run.state.averages + thread.state_offset(op.weights);
  thread.for_panels(thread.variable(op.weights), [&](const Panel& panel, Range rows) {
    thread.kernels.average({weights + panel.offset, averages + panel.offset, panel.width, rows, panel.columns},
                           number > 1 ? optimizer.average_momentum : 0.0, overwrite);
  });
}

void constrain_weights(const graph::ConstrainWeights& op, const ThreadContext& thread) {
  using Over = ConstraintSpec::Over;
  const Variable& v = thread.variable(op.weights);
  float* values = thread.weights(op.weights).values;
  const bool norms = op.constraint.kind == ConstraintSpec::Kind::kNorm;
  if (norms && op.constraint.over != Over::kColumn) {
    const bool of_all = op.constraint.over == Over::kAll;
    return thread.kernels.row_norms(
        {values, v.rows, v.columns, thread.range('k', v.rows), of_all, op.constraint.limits});
  }
  thread.for_panels(v, [&](const Panel& panel, Range rows) {
    const WeightBlock block{values + panel.offset, nullptr, panel.width, rows, panel.columns};
    if (norms) {
      thread.kernels.column_norms(block, op.constraint.limits);
    } else {
      thread.kernels.non_negative(block);
    }
  });
}

Split split_constraint(const Scheduler& scheduler, const graph::ConstrainWeights& op) {
  using Over = ConstraintSpec::Over;
  if (op.constraint.kind != ConstraintSpec::Kind::kNorm) return split_by_weights(scheduler, op);
  return op.constraint.over == Over::kColumn ? Split::over('n')
         : op.constraint.over == Over::kRow  ? Split::over('k')
                                             : Split::one_thread();
}

}  // namespace

void add_optimizers(OperationRegistry& all) {
  all.add<graph::AddGradient>(add_gradient, split_add_gradient);
  all.add<graph::AccumulateGradient>(accumulate_gradient, split_by_weights);
  all.add<graph::SumSquares>(sum_squares, over<'n'>);
  all.add<graph::ComputeScales>(compute_scales, by_first_thread);
  all.add<graph::StepWeights>(step_weights, split_by_weights);
  all.add<graph::MoveWeights>(move_weights, split_by_weights);
  all.add<graph::AverageWeights>(average_weights, split_by_weights);
  all.add<graph::ConstrainWeights>(constrain_weights, split_constraint);
}

}  // namespace engine::cpu
