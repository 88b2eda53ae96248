#include "cpu/thread_context.h"

#include <cstring>

namespace engine::cpu {

Weights shifted(Weights w, int64_t offset) {
  if (!w.values) return w;
  w.values += offset;
  for (float*& slot : w.slots) slot = slot ? slot + offset : nullptr;
  return w;
}

Weights ThreadContext::weights(ValueId variable) const {
  Weights w;
  if (variable == kNoValue) return w;
  const int v = variable_of(variable);
  w.values = run.weights[v];
  for (int s = 0; s < kMaxSlots; ++s) {
    float* const slots = run.state.slots[s];
    w.slots[s] = slots ? slots + state_offset(variable) : nullptr;
  }
  w.l2 = this->variable(variable).spec.l2;
  w.decay = run.training ? optimizer().decay(v) : 0.0;
  return w;
}

const float* ThreadContext::row(ValueId value) const {
  if (value == kNoValue) return nullptr;
  const int v = variable_of(value);
  return v >= 0 ? run.weights[v] : schedule.constants(value);
}

RowMask ThreadContext::row_mask(ValueId mask) const {
  if (mask == kNoValue) return {};
  return {data(mask), placement(mask).ld, placement(mask).columns};
}

Targets ThreadContext::targets(int output, int64_t groups) const {
  const TargetView& view = target_view(output);
  return {view.labels, view.dense, run.order, batch.first, groups};
}

double ThreadContext::row_weight(int output, int64_t groups, ValueId mask, int64_t row) const {
  const float* weights = target_view(output).sample_weight;
  return this->row_mask(mask).at(row) *
         (weights ? static_cast<double>(weights[targets(output, groups).row(row)]) : 1.0);
}

double ThreadContext::loss_divisor(int output, int64_t groups, ValueId mask) const {
  const LossSpec& spec = loss(output);
  if (spec.reduction == LossReduction::kSum) return 1.0;
  const TargetView& view = target_view(output);
  const bool by_weight = spec.reduction == LossReduction::kWeightedMean && view.sample_weight;
  const RowMask rows = this->row_mask(mask);
  if (!by_weight && !spec.ignores && !rows.values) return static_cast<double>(batch.rows * groups);
  double sum = 0.0;
  for (int64_t b = 0; b < batch.rows * groups; ++b) {
    if (spec.ignores && view.labels[targets(output, groups).row(b)] == spec.ignored) continue;
    sum += by_weight ? row_weight(output, groups, mask, b) : rows.at(b);
  }
  return sum;
}

double ThreadContext::penalty_factor() const {
  if (schedule.mode() == graph::Mode::kFunction || !loss(0).divides_penalties) return 1.0;
  const graph::Output& output = schedule.graph().outputs[0];
  const double divisor = loss_divisor(0, placement(output.y_pred).groups, output.row_mask);
  return divisor == 0.0 ? 0.0 : 1.0 / divisor;
}

ThreadContext::Draw ThreadContext::draw(int64_t groups) const {
  if (schedule.mode() != graph::Mode::kSample) return {static_cast<uint64_t>(iteration()), 0};
  return {static_cast<uint64_t>(run.first_iteration), batch.first * groups};
}

const OptimizerStep& ThreadContext::optimizer_step() const {
  if (stepped_ == batch.index) return step_;
  stepped_ = batch.index;
  const OptimizerSpec& spec = optimizer();
  const int64_t before = (iteration() - 1) / spec.accumulate;
  step_ = {run.learning_rates[batch.index - run.first_batch], before + 1, {}};
  std::memcpy(step_.parameters, spec.parameters, sizeof step_.parameters);
  if (static_cast<int>(spec.kind) < kFusedOptimizers) {
    kernels.coefficients[index(spec.kind)](step_, coefficients_);
    step_.coefficients = coefficients_;
  }
  return step_;
}

}  // namespace engine::cpu
