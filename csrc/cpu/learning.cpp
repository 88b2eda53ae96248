// Stored gradients on their way to the weights: one thread's share of each step of plan/learning.cpp.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/steps.h"

namespace engine {
namespace {

/// Keras' guard against a norm of zero.
constexpr double kTiny = 1e-7;

}  // namespace

WeightBlock StepRunner::block(const Step& step, float* other, const Panel& panel, Range rows) const {
  return {weights(step.kernel).values + panel.offset, other + panel.offset, panel.width, rows, panel.columns};
}

const OptimizerStep& StepRunner::optimizer_step(const Batch& batch) const {
  if (stepped_ == batch.index) return step_;
  stepped_ = batch.index;
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const int64_t before = (iteration(batch) - 1) / optimizer.accumulate;
  step_ = {frame_.learning_rates[batch.index - frame_.first_batch], before + 1, {}};
  std::memcpy(step_.parameters, optimizer.parameters, sizeof step_.parameters);
  if (static_cast<int>(optimizer.kind) < kFusedOptimizers) {
    kernels_.coefficients[index(optimizer.kind)](step_, coefficients_);
    step_.coefficients = coefficients_;
  }
  return step_;
}

bool StepRunner::steps_weights(const Batch& batch) const {
  return iteration(batch) % frame_.training->optimizer.accumulate == 0;
}

void StepRunner::add_gradient(const Step& step) const {
  float* apart = gradient(step.kernel, true);
  float* sums = gradient(step.kernel);
  for_weights(step, [&](const Panel& panel, Range rows) {
    kernels_.accumulate({apart + panel.offset, sums + panel.offset, panel.width, rows, panel.columns});
  });
}

void StepRunner::penalty_gradient(const Step& step, const Batch& batch) const {
  const VariableSpec& asked = variable(step.kernel).asked;
  const double factor = penalty_factor(batch), l1 = factor * asked.l1, l2 = factor * asked.l2;
  for_weights(step, [&](const Panel& panel, Range rows) {
    kernels_.penalty_gradient(block(step, gradient(step.kernel), panel, rows), l1, l2);
  });
}

void StepRunner::accumulate(const Step& step, const Batch& batch) const {
  const int64_t count = frame_.training->optimizer.accumulate;
  float* sums = frame_.accumulated + variable(step.kernel).offset;
  for_weights(step, [&](const Panel& panel, Range rows) {
    const WeightBlock op{gradient(step.kernel) + panel.offset, sums + panel.offset, panel.width, rows, panel.columns};
    if (steps_weights(batch)) {
      kernels_.take_mean(op, count);
    } else {
      kernels_.accumulate(op);
    }
  });
}

void StepRunner::squares(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const Variable& v = variable(step.kernel);
  const bool of_weights = step.kind == Step::Kind::kWeightSquares;
  const float* values = of_weights ? weights(step.kernel).values : gradient(step.kernel);
  float* sums = data(step.out) + step.index * shape(step.out).ld;
  Panels(v.rows, v.columns).each(columns(step, v.columns), [&](const Panel& panel) {
    kernels_.squared_sums({values + panel.offset, panel.width, v.rows, sums + panel.first, panel.columns});
  });
}

double StepRunner::squared_norm(size_t learning, bool of_weights) const {
  const size_t row = of_weights ? plan_.learning.size() + learning : learning;
  const float* sums = data(plan_.squares) + static_cast<int64_t>(row) * shape(plan_.squares).ld;
  double total = 0.0;
  for (int64_t j = 0; j < variable(plan_.learning[learning]).columns; ++j) total += static_cast<double>(sums[j]);
  return total;
}

double StepRunner::row_mean(int v) const {
  const Variable& matrix = variable(v);
  const int64_t stride = Panels(matrix.rows, matrix.columns).of(0).width;
  double total = 0.0;
  for (int64_t i = 0; i < matrix.rows; ++i) total += static_cast<double>(weights(v).slots[2][i * stride]);
  return total / static_cast<double>(matrix.rows);
}

double StepRunner::scaling(Scaling scaling, size_t learning, const OptimizerStep& at) const {
  const double limit = frame_.training->optimizer.limit;
  const int v = plan_.learning[learning];
  switch (scaling) {
    case Scaling::kClip:
      return limit / std::max(std::sqrt(squared_norm(learning, false)), limit);
    case Scaling::kClipAll: {
      double squares = 0.0;
      for (size_t i = 0; i < plan_.learning.size(); ++i) squares += squared_norm(i, false);
      return limit / std::max(std::sqrt(squares), limit);
    }
    case Scaling::kRowMean:
      return !variable(v).is_matrix() ? 0.0 : row_mean(v);
    case Scaling::kTrust: {
      const double w = std::sqrt(squared_norm(learning, true)), u = std::sqrt(squared_norm(learning, false));
      return at.learning_rate * (w > 0.0 && u > 0.0 ? w / u : 1.0);
    }
    case Scaling::kAdafactor: {
      const auto count = static_cast<double>(variable(v).rows * variable(v).columns);
      const double w = std::sqrt(squared_norm(learning, true) / count);
      const double u = std::sqrt(squared_norm(learning, false) / count);
      const double smallest = at.parameters[2], threshold = at.parameters[3];
      const double rate = std::min(at.learning_rate, 1.0 / std::sqrt(static_cast<double>(at.iteration)));
      return rate * std::max(smallest, w) / std::max(1.0, u / threshold);
    }
    case Scaling::kUnit:
      return frame_.training->optimizer.orthogonalises(v) ? 1.0 / (std::sqrt(squared_norm(learning, false)) + kTiny)
                                                          : 0.0;
    case Scaling::kMuon: {
      const auto side = static_cast<double>(std::max(variable(v).height(), variable(v).width()));
      const double rate = frame_.training->optimizer.rms_rate;
      return at.learning_rate * (rate > 0.0 ? rate * std::sqrt(side) : 1.0);
    }
  }
  return 1.0;
}

/// By one thread, in the order of the columns and the variables.
void StepRunner::scale(const Step& step, const Batch& batch) const {
  if (worker_.index != 0 || !steps_weights(batch)) return;
  const OptimizerStep& at = optimizer_step(batch);
  float* scales = data(step.out);
  for (size_t i = 0; i < plan_.learning.size(); ++i) {
    const bool shared = step.scaling == Scaling::kClipAll && i > 0;
    scales[i] = shared ? scales[0] : static_cast<float>(scaling(step.scaling, i, at));
  }
}

Optimizer StepRunner::rule(int v) const {
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const bool factors = variable(v).is_matrix() || variable(v).is_flat();
  if (optimizer.kind == Optimizer::kAdafactor && factors) return Optimizer::kFactored;
  if (optimizer.kind == Optimizer::kMuon && !optimizer.orthogonalises(v)) return Optimizer::kMuonAdam;
  return optimizer.kind;
}

void StepRunner::step_weights(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const Optimizer kind = rule(step.kernel);
  const float factor = step.in < 0 ? 1.0f : data(step.in)[step.index];
  const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
  const auto limit = by_value ? static_cast<float>(optimizer.limit) : std::numeric_limits<float>::infinity();
  const OptimizerStep& at = optimizer_step(batch);
  const Weights values = weights(step.kernel);
  for_weights(step, [&](const Panel& panel, Range rows) {
    kernels_.step_weights[static_cast<size_t>(kind)]({shifted(values, panel.offset),
                                                      gradient(step.kernel) + panel.offset, panel.width, rows,
                                                      panel.columns, at, factor, limit});
  });
}

/// Running means of rows lie in the third slot, of columns in the second.
void StepRunner::factored_means(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const Variable& v = variable(step.kernel);
  const Weights w = weights(step.kernel);
  const bool by_rows = step.kind == Step::Kind::kFactoredRows;
  const FactoredMeans op{gradient(step.kernel),
                         w.slots[2],
                         w.slots[1],
                         v.rows,
                         v.columns,
                         by_rows ? worker_.slice(v.rows) : columns(step, v.columns),
                         optimizer_step(batch)};
  (by_rows ? kernels_.factored_rows : kernels_.factored_columns)(op);
}

void StepRunner::factored_direction(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const Weights w = weights(step.kernel);
  const Variable& matrix = variable(step.kernel);
  const int64_t stride = Panels(matrix.rows, matrix.columns).of(0).width;
  const float mean = data(step.in)[step.index];
  for_weights(step, [&](const Panel& panel, Range rows) {
    kernels_.factored_direction({gradient(step.kernel) + panel.offset, w.slots[0] + panel.offset, panel.width,
                                 w.slots[2], stride, w.slots[1] + panel.offset, rows, panel.columns, mean});
  });
}

void StepRunner::factored_flat(const Step& step, const Batch& batch) const {
  if (worker_.index != 0 || !steps_weights(batch)) return;
  const Variable& v = variable(step.kernel);
  const Weights w = weights(step.kernel);
  kernels_.factored_flat({gradient(step.kernel), w.slots[0], w.slots[2], w.slots[1],
                          v.columns / (v.height() * v.width()), v.height(), v.width(), optimizer_step(batch)});
}

void StepRunner::move(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  for_weights(step, [&](const Panel& panel, Range rows) {
    kernels_.move(block(step, gradient(step.kernel), panel, rows), data(step.in)[step.index]);
  });
}

/// Keras' first steps copy the weights, and so does every batch before the first step.
void StepRunner::average(const Step& step, const Batch& batch) const {
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const int64_t number = optimizer_step(batch).iteration;
  const bool overwrite = optimizer.overwrite > 0 && number % optimizer.overwrite == 0;
  float* averages = frame_.averages + variable(step.kernel).offset;
  for_weights(step, [&](const Panel& panel, Range rows) {
    kernels_.average(block(step, averages, panel, rows), number > 1 ? optimizer.average_momentum : 0.0, overwrite);
  });
}

void StepRunner::constrain(const Step& step) const {
  const Variable& v = variable(step.kernel);
  const ConstraintSpec& constraint = v.asked.constraint;
  float* values = weights(step.kernel).values;
  const bool norms = constraint.kind == ConstraintSpec::Kind::kNorm;
  if (norms && constraint.over != ConstraintSpec::Over::kColumn) {
    const bool together = constraint.over == ConstraintSpec::Over::kAll;
    const Range rows = together ? Range{0, worker_.index == 0 ? v.rows : 0} : worker_.slice(v.rows);
    return kernels_.row_norms({values, v.rows, v.columns, rows, together, constraint.limits});
  }
  for_weights(step, [&](const Panel& panel, Range rows) {
    const WeightBlock op{values + panel.offset, nullptr, panel.width, rows, panel.columns};
    if (norms) {
      kernels_.column_norms(op, constraint.limits);
    } else {
      kernels_.non_negative(op);
    }
  });
}

}  // namespace engine
