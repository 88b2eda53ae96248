// A training of a chain of dense layers by the kernels of cuda/chains, where execution_choice.h chooses that.
#pragma once
#include "cuda/execution_choice.h"
#include "cuda/schedule.h"

namespace engine::cuda {

/// How the batches of a run are computed: a kernel for each step, one kernel for many batches, or two for each batch.
enum class Way { kSteps, kPersistent, kDataParallel };

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
  bool launch(const Stream& stream, const RunMemory& memory, const Batch* batches, int64_t count) const;
  /// Trains on one batch of so many samples by the data-parallel kernels. Returns false, and does nothing, as `launch`.
  bool launch_batch(cudaStream_t stream, const RunMemory& memory, const Batch* batch, int64_t samples) const;

  /// Which way it is, and why.
  std::string to_text() const;

 private:
  const ExecutionChoice& choice_for(RowType type) const { return type == RowType::kUint8 ? bytes_ : floats_; }
  float* scratch(const RunMemory& memory) const { return memory.arguments.scratch + scratch_; }
  /// Notes it where the card has refused to start blocks that work together.
  bool note(bool was_started, const ChainPlan& plan) const;
  bool is_refused(const ExecutionChoice& choice) const {
    return choice.plan && choice.plan->exchange != Exchange::kNone && *refuses_teams_;
  }
  std::string to_text(const ExecutionChoice& choice) const;

  std::optional<chains::Chain> chain_;
  ExecutionChoice bytes_, floats_;  // for data sets of uint8, and of floats
  std::shared_ptr<std::atomic<bool>> refuses_teams_;
  int64_t scratch_ = 0;
};

}  // namespace engine::cuda
