// Losses, penalties and metrics that traced functions compute.
#include "cuda/arrays.h"
#include "cuda/elements.h"
#include "cuda/loss_rows.h"
#include "cuda/schedule.h"
#include "graph/operations/traced_loss.h"

namespace engine::cuda {
namespace {

/// losses[b] = values[b], and the gradient of the batch's loss by the latter: the weight of the row over the divisor.
struct TracedLossOfRows {
  const float* values;
  float *losses, *gradient;  // no gradient: null
  Targets targets;
  RowWeights weights;
  Divisor divisor;
  double weight;  // of the output
  __device__ void operator()(int64_t b, const Batch& batch) const {
    losses[b] = values[b];
    if (!gradient) return;
    const double by = divisor(targets.groups * batch.rows);
    gradient[b] = by == 0.0 ? 0.0f : static_cast<float>(weight / by * weights(targets, batch, b));
  }
};

/// One number for the batch. With weights, or as the mean, each row gets it; an unweighted sum stores it in row 0 only,
/// and 0 in the others.
struct TracedLossOfBatch {
  const float* value;
  float *losses, *gradient;
  Targets targets;
  RowWeights weights;
  Divisor divisor;
  double weight;
  bool in_first_row;  // and 0 in the others

  int64_t blocks() const { return 1; }
  int64_t shared_bytes() const { return kSumBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t rows = targets.groups * batch.rows;
    double sum = 0.0;
    for_each(rows, [&](int64_t b) {
      losses[b] = in_first_row && b > 0 ? 0.0f : *value;
      sum += weights(targets, batch, b);
    });
    const double all = in_first_row ? 1.0 : sum_of_block(sum), by = divisor(rows);
    if (gradient && threadIdx.x == 0) *gradient = by == 0.0 ? 0.0f : static_cast<float>(weight / by * all);
  }
};

void schedule_traced_loss(Schedule& schedule, const graph::TracedLoss& op) {
  const int64_t groups = schedule.placement(op.losses).groups;
  const int64_t sum = add_sum_of_weights(schedule, op, op.output, op.row_mask, groups);
  const auto row_weights = [&op](const RunMemory& memory) {
    const float* const weights = memory.data.targets[static_cast<size_t>(op.output)].sample_weight;
    return RowWeights{weights, memory.scratch(op.row_mask), false, 0};
  };
  if (!graph::is_single(op.values.shape)) {
    schedule.add(op, [&op, groups, sum, row_weights](const RunMemory& memory) {
      const LossSpec& spec = memory.training().losses[static_cast<size_t>(op.output)];
      return for_elements(memory.schedule, op.losses,
                          TracedLossOfRows{memory.scratch(op.values.value), memory.scratch(op.losses),
                                           memory.scratch(op.gradient.value), targets_of(memory, op.output, groups),
                                           row_weights(memory), divisor_of(memory, op.output, op.row_mask, sum),
                                           static_cast<double>(spec.weight)});
    });
    return;
  }
  schedule.add(op, [&op, groups, sum, row_weights](const RunMemory& memory) {
    const LossSpec& spec = memory.training().losses[static_cast<size_t>(op.output)];
    const RowWeights weights = row_weights(memory);
    return TracedLossOfBatch{memory.scratch(op.values.value),
                             memory.scratch(op.losses),
                             memory.scratch(op.gradient.value),
                             targets_of(memory, op.output, groups),
                             weights,
                             divisor_of(memory, op.output, op.row_mask, sum),
                             static_cast<double>(spec.weight),
                             weights.are_equal() && spec.reduction == LossReduction::kSum};
  });
}

/// values[b] = x[b], or the number x for each row
struct ValuesOfRows {
  const float* x;
  float* values;
  bool is_single;
  __device__ void operator()(int64_t b, const Batch&) const { values[b] = x[is_single ? 0 : b]; }
};

void schedule_traced_penalty(Schedule& schedule, const graph::TracedPenalty& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.losses,
                        ValuesOfRows{memory.scratch(op.value.value), memory.scratch(op.losses), true});
  });
}

void schedule_traced_values(Schedule& schedule, const graph::TracedValues& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(
        memory.schedule, op.values,
        ValuesOfRows{memory.scratch(op.x.value), memory.scratch(op.values), graph::is_single(op.x.shape)});
  });
}

}  // namespace

void add_traced_losses(OperationRegistry& all) {
  all.add<graph::TracedLoss>(schedule_traced_loss);
  all.add<graph::TracedPenalty>(schedule_traced_penalty);
  all.add<graph::TracedValues>(schedule_traced_values);
}

}  // namespace engine::cuda
