// Stored gradients on their way to the weights: one thread's share of each step of plan/learning.cpp.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/steps.h"
#include "plan/panels.h"

namespace engine {

template <class F>
void StepRunner::for_weights(const Step& step, F&& f) const {
  const Variable& v = variable(step.kernel);
  if (step.split == Split::kNone && worker_.index != 0) return;
  const Range rows = step.split == Split::kInputs ? worker_.slice(v.rows) : Range{0, v.rows};
  for_panels(v.rows, v.columns, columns(step, v.columns),
             [&](const Panel& panel) { f(panel.offset, panel.width, rows, panel.columns); });
}

WeightBlock StepRunner::block(const Step& step, float* other, int64_t offset, int64_t width, Range rows,
                              Range columns) const {
  return {weights(step.kernel).values + offset, other + offset, width, rows, columns};
}

OptimizerStep StepRunner::optimizer_step(const Batch& batch) const {
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const int64_t before = (iteration(batch) - 1) / optimizer.accumulate;
  OptimizerStep at{frame_.learning_rates[batch.index - frame_.first_batch], before + 1, {}};
  std::memcpy(at.parameters, optimizer.parameters, sizeof at.parameters);
  return at;
}

bool StepRunner::steps_weights(const Batch& batch) const {
  return iteration(batch) % frame_.training->optimizer.accumulate == 0;
}

void StepRunner::penalty(const Step& step) const {
  const Variable& w = variable(step.kernel);
  float* sums = data(step.out) + step.index * shape(step.out).ld;
  const bool squares = plan_.penalised[static_cast<size_t>(step.index)].kind == Penalty::Kind::kSquares;
  const auto sum = squares ? kernels_.squared_sums : kernels_.magnitude_sums;
  for_panels(w.rows, w.columns, columns(step, w.columns), [&](const Panel& panel) {
    sum({weights(step.kernel).values + panel.offset, panel.width, w.rows, sums + panel.first, panel.columns});
  });
}

void StepRunner::penalty_gradient(const Step& step) const {
  const VariableSpec& asked = variable(step.kernel).asked;
  for_weights(step, [&](int64_t offset, int64_t width, Range rows, Range columns) {
    kernels_.penalty_gradient(block(step, gradient(step.kernel), offset, width, rows, columns), asked.l1, asked.l2);
  });
}

void StepRunner::accumulate(const Step& step, const Batch& batch) const {
  const int64_t count = frame_.training->optimizer.accumulate;
  float* sums = frame_.accumulated + variable(step.kernel).offset;
  for_weights(step, [&](int64_t offset, int64_t width, Range rows, Range columns) {
    const WeightBlock op{gradient(step.kernel) + offset, sums + offset, width, rows, columns};
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
  float* sums = data(step.out) + step.index * shape(step.out).ld;
  for_panels(v.rows, v.columns, columns(step, v.columns), [&](const Panel& panel) {
    kernels_.squared_sums(
        {gradient(step.kernel) + panel.offset, panel.width, v.rows, sums + panel.first, panel.columns});
  });
}

/// By one thread, in the order of the columns and the variables.
void StepRunner::scale(const Batch& batch) const {
  if (worker_.index != 0 || !steps_weights(batch)) return;
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const bool global = optimizer.clip == OptimizerSpec::Clip::kGlobalNorm;
  float* scales = data(plan_.scales);
  const auto factor = [&](double squares) {
    return static_cast<float>(optimizer.limit / std::max(std::sqrt(squares), optimizer.limit));
  };
  double total = 0.0;
  for (size_t i = 0; i < plan_.learning.size(); ++i) {
    const float* sums = data(plan_.squares) + static_cast<int64_t>(i) * shape(plan_.squares).ld;
    double squares = 0.0;
    for (int64_t j = 0; j < variable(plan_.learning[i]).columns; ++j) squares += static_cast<double>(sums[j]);
    total += squares;
    scales[i] = factor(squares);
  }
  if (global) std::fill_n(scales, plan_.learning.size(), factor(total));
}

void StepRunner::step_weights(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const float factor = step.in < 0 ? 1.0f : data(step.in)[step.index];
  const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
  const auto limit = by_value ? static_cast<float>(optimizer.limit) : std::numeric_limits<float>::infinity();
  const OptimizerStep at = optimizer_step(batch);
  const Weights values = weights(step.kernel);
  for_weights(step, [&](int64_t offset, int64_t width, Range rows, Range columns) {
    kernels_.step_weights[static_cast<size_t>(optimizer.kind)](
        {shifted(values, offset), gradient(step.kernel) + offset, width, rows, columns, at, factor, limit});
  });
}

/// Keras' first steps copy the weights, and so does every batch before the first step.
void StepRunner::average(const Step& step, const Batch& batch) const {
  const OptimizerSpec& optimizer = frame_.training->optimizer;
  const int64_t number = optimizer_step(batch).iteration;
  const bool overwrite = optimizer.overwrite > 0 && number % optimizer.overwrite == 0;
  float* averages = frame_.averages + variable(step.kernel).offset;
  for_weights(step, [&](int64_t offset, int64_t width, Range rows, Range columns) {
    kernels_.average(block(step, averages, offset, width, rows, columns), number > 1 ? optimizer.average_momentum : 0.0,
                     overwrite);
  });
}

}  // namespace engine
