// Penalties on weights: their sums, and their gradients.
#include "graph/operations/weight_penalty.h"

#include <algorithm>
#include <numeric>

#include "cpu/kernel_choice.h"
#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

void weight_sums(const graph::WeightSums& op, const ThreadContext& thread) {
  const Variable& w = thread.variable(op.weights);
  const float* values = thread.weights(op.weights).values;
  float* sums = thread.data(op.sums);
  const auto sum = op.squares ? thread.kernels.squared_sums : thread.kernels.magnitude_sums;
  if (!op.by_slice) {
    return Panels(w.rows, w.columns).each(thread.padded('n', w.columns), [&](const Panel& panel) {
      sum({values + panel.offset, panel.width, w.rows, sums + panel.first, panel.columns});
    });
  }
  const Range own = thread.range('k', w.rows);
  for (int64_t i = own.begin; i < own.end; i += kSlice) {
    alignas(64) float of_columns[kLineFloats];
    sum({values + i * kLineFloats, kLineFloats, std::min(kSlice, own.end - i), of_columns, {0, kLineFloats}});
    sums[i / kSlice] = std::accumulate(of_columns, of_columns + w.columns, 0.0f);
  }
}

Split split_weight_sums(const Scheduler&, const graph::WeightSums& op) { return Split::over(op.by_slice ? 'k' : 'n'); }

void add_penalty_gradient(const graph::AddPenaltyGradient& op, const ThreadContext& thread) {
  const double factor = thread.penalty_factor();
  float *weights = thread.weights(op.weights).values, *gradient = thread.data(op.gradient);
  thread.for_panels(thread.variable(op.weights), [&](const Panel& panel, Range rows) {
    thread.kernels.penalty_gradient({weights + panel.offset, gradient + panel.offset, panel.width, rows, panel.columns},
                                    factor * op.l1, factor * op.l2);
  });
}

Split split_penalty_gradient(const Scheduler& scheduler, const graph::AddPenaltyGradient& op) {
  return split_weights(scheduler.graph().variables()[scheduler.value(op.weights).variable], scheduler.threads());
}

void add_slopes(const graph::AddSlopes& op, const ThreadContext& thread) {
  const Placement& slopes = thread.placement(op.slopes);
  const Variable& v = thread.variable(op.gradient);
  const float* from = thread.data(op.slopes);
  const auto factor = static_cast<float>(thread.penalty_factor());
  thread.for_panels(v, [&](const Panel& panel, Range rows) {
    const int64_t end = std::min(panel.columns.end, v.columns - panel.first);
    float* to = thread.data(op.gradient) + panel.offset;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = panel.columns.begin; j < end; ++j) {
        to[i * panel.width + j] += factor * from[i * slopes.ld + panel.first + j];
      }
    }
  });
}

Split split_slopes(const Scheduler& scheduler, const graph::AddSlopes& op) {
  return split_weights(scheduler.graph().variables()[scheduler.value(op.gradient).variable], scheduler.threads());
}

}  // namespace

void add_penalties(OperationRegistry& all) {
  all.add<graph::WeightSums>(weight_sums, split_weight_sums);
  all.add<graph::AddPenaltyGradient>(add_penalty_gradient, split_penalty_gradient);
  all.add<graph::AddSlopes>(add_slopes, split_slopes);
}

}  // namespace engine::cpu
