// The targets and weights of the rows of an output, and what sums over them are divided by.
#pragma once
#include "cuda/batch_sums.h"
#include "cuda/schedule.h"

namespace engine::cuda {

/// The targets and weights of an output, in memory of the card.
struct Targets {
  TargetView view;
  int64_t groups;  // rows of each sample
  bool sparse;

  /// The row of the data set's targets that belongs to row `b` of the batch.
  __device__ int64_t row(const Batch& batch, int64_t b) const {
    return data_row(batch, b / groups) * groups + b % groups;
  }
};

/// The weights of the rows of an output in a sum.
struct RowWeights {
  const float* sample_weight;  // by row of the data set's targets, or null
  const float* mask;           // by row of the batch, or null
  bool ignores;                // whether rows of class `ignored` have weight 0
  int32_t ignored;

  ENGINE_DEVICE bool are_equal() const { return !sample_weight && !mask && !ignores; }
  __device__ double operator()(const Targets& targets, const Batch& batch, int64_t b) const {
    return of_row(targets, targets.row(batch, b), b);
  }
  /// Of row `b` of the batch, whose targets are in row `row`.
  __device__ double of_row(const Targets& targets, int64_t row, int64_t b) const {
    if (ignores && targets.view.labels[row] == ignored) return 0.0;
    const double kept = mask ? static_cast<double>(mask[b]) : 1.0;
    return kept * (sample_weight ? static_cast<double>(sample_weight[row]) : 1.0);
  }
};

inline Targets targets_of(const RunMemory& memory, int output, int64_t groups) {
  const auto i = static_cast<size_t>(output);
  TargetView view = memory.data.targets[i];
  view.binary = memory.arguments.data.targets[i].binary;  // which depends on the losses of the run
  return {view, groups, memory.training().losses[i].target == Target::kSparse};
}

/// The divisor of an output's losses, as their reduction says: known, or a sum of weights that an earlier kernel left.
struct Divisor {
  double of_row;  // for each row of the batch; 0 where the divisor is `fixed`
  double fixed;
  const double* sum;  // or null

  __device__ double operator()(int64_t rows) const { return sum ? *sum : fixed + of_row * static_cast<double>(rows); }
};

/// The sum of the weights of all rows. It is not needed where all are 1.
struct SumOfWeights {
  static constexpr int kSums = 1;

  Targets targets;
  RowWeights weights;
  double* sum;

  bool is_wanted() const { return !weights.are_equal(); }
  __device__ int64_t rows(const Batch& batch) const { return targets.groups * batch.rows; }
  __device__ void add(int64_t b, const Batch& batch, double (&sums)[kSums]) const {
    sums[0] += weights(targets, batch, b);
  }
  __device__ void finish(const double (&sums)[kSums], const Batch&) const { *sum = sums[0]; }
};

inline RowWeights divisor_weights(const RunMemory& memory, int output, ValueId row_mask) {
  const LossSpec& spec = memory.training().losses[static_cast<size_t>(output)];
  const bool by_weight = spec.reduction == LossReduction::kWeightedMean;
  return {by_weight ? memory.data.targets[static_cast<size_t>(output)].sample_weight : nullptr,
          memory.scratch(row_mask), spec.ignores, spec.ignored};
}

/// The divisor, for a run in which a kernel has left the sum of weights at `sum`.
inline Divisor divisor_of(const RunMemory& memory, int output, ValueId row_mask, int64_t sum) {
  const LossSpec& spec = memory.training().losses[static_cast<size_t>(output)];
  if (spec.reduction == LossReduction::kSum) return {0.0, 1.0, nullptr};
  if (divisor_weights(memory, output, row_mask).are_equal()) return {1.0, 0.0, nullptr};
  return {0.0, 0.0, reinterpret_cast<const double*>(memory.arguments.scratch + sum)};
}

/// Where the sum of the weights that an output's losses are divided by lies in scratch. The first call for an output
/// appends the kernel that computes it.
inline int64_t add_sum_of_weights(Schedule& schedule, const graph::Operation& op, int output, ValueId row_mask,
                                  int64_t groups) {
  const auto [found, is_new] = schedule.sums_of_weights().try_emplace({output, row_mask}, 0);
  if (!is_new) return found->second;
  const int64_t at = found->second = schedule.add_scratch(sizeof(double) / sizeof(float));
  add_batch_sums(schedule, op, groups * schedule.max_rows(), [=](const RunMemory& memory) {
    return SumOfWeights{targets_of(memory, output, groups), divisor_weights(memory, output, row_mask),
                        reinterpret_cast<double*>(memory.arguments.scratch + at)};
  });
  return at;
}

/// What penalties on weights are multiplied by: 1, or, as scikit-learn's estimators ask, 1 over the divisor of the
/// first output's losses.
struct PenaltyFactor {
  bool divides;
  Divisor divisor;
  int64_t groups;  // rows of each sample

  __device__ float operator()(const Batch& batch) const {
    if (!divides) return 1.0f;
    const double by = divisor(groups * batch.rows);
    return by == 0.0 ? 0.0f : static_cast<float>(1.0 / by);
  }
};

/// Appends what an operation needs for the factor of its penalties, if it has some, and returns a function that gives
/// the factor for a run.
inline auto add_penalty_factor(Schedule& schedule, const graph::Operation& op, bool has_penalties = true) {
  const bool has_losses = has_penalties && schedule.mode() == graph::Mode::kTrain && !schedule.graph().outputs.empty();
  const graph::Output first = has_losses ? schedule.graph().outputs[0] : graph::Output{};
  const int64_t groups = has_losses ? schedule.placement(first.y_pred).groups : 1;
  const int64_t sum = has_losses ? add_sum_of_weights(schedule, op, 0, first.row_mask, groups) : 0;
  return [=](const RunMemory& memory) {
    const bool divides = has_losses && memory.training().losses[0].divides_penalties;
    return PenaltyFactor{divides, divides ? divisor_of(memory, 0, first.row_mask, sum) : Divisor{}, groups};
  };
}

}  // namespace engine::cuda
