// A training of a chain of dense layers by the kernels of cuda/chains, where execution_choice.h chooses that.
#pragma once
#include "cuda/execution_choice.h"
#include "cuda/schedule.h"

namespace engine::cuda {

class ChainSchedule {
 public:
  /// Chooses for the graph of `schedule`, and adds to its scratch what the kernels need.
  ChainSchedule(Schedule& schedule, const CardLimits& limits);

  /// Which way a run goes.
  Way way(const RunArguments& arguments, const DatasetView& data) const;
  /// Batches of a launch of the persistent kernel: a caller that wants to stop waits for no more than these.
  int64_t batches_together(const RunArguments& arguments, const DatasetView& data) const;
  /// Trains on `count` batches, which lie on the card, by the persistent kernel. Returns false, and does nothing, where
  /// the card refuses that; runs go step by step then.
  bool train_persistent(const Stream& stream, const RunMemory& memory, const Batch* batches, int64_t count) const;
  /// Trains on one batch of so many samples by the data-parallel kernels. Returns false, and does nothing, as
  /// `train_persistent`.
  bool train_data_parallel(cudaStream_t stream, const RunMemory& memory, const Batch* batch, int64_t samples) const;

  /// Which way it is, and why.
  std::string to_text() const;

 private:
  const ExecutionChoice& choice_for(RowType type) const { return type == RowType::kUint8 ? bytes_ : floats_; }
  float* scratch(const RunMemory& memory) const { return memory.arguments.scratch + scratch_; }
  /// Remembers, for all models on the card, that it has refused to start blocks that work together. Returns
  /// `was_started`.
  bool remember_refusal(bool was_started, const ChainPlan& plan) const;
  bool is_refused(const ExecutionChoice& choice) const {
    return choice.plan && choice.plan->team != TeamKind::kOneBlock && *refuses_teams_;
  }
  std::string to_text(const ExecutionChoice& choice) const;

  std::optional<chains::Chain> chain_;
  ExecutionChoice bytes_, floats_;  // for data sets of uint8, and of floats
  std::shared_ptr<std::atomic<bool>> refuses_teams_;
  int64_t scratch_ = 0;
};

}  // namespace engine::cuda
