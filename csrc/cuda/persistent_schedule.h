// A training that runs as one kernel for many batches, where execution_choice.h chooses that.
#pragma once
#include "cuda/execution_choice.h"
#include "cuda/schedule.h"

namespace engine::cuda {

class PersistentSchedule {
 public:
  /// Chooses for the graph of `schedule`, and adds to its scratch what the kernel needs.
  PersistentSchedule(Schedule& schedule, const CardLimits& limits);

  /// Whether a run goes this way.
  bool runs(const RunArguments& arguments, const DatasetView& data) const;
  /// Batches of a launch: a caller that wants to stop waits for no more than these.
  int64_t batches_together(const RunArguments& arguments, const DatasetView& data) const;
  /// Trains on `count` batches. Returns false, and does nothing, where the card refuses that; runs go step by step
  /// then.
  bool launch(const Stream& stream, const RunMemory& memory, const Batch* batches, int64_t count) const;

  /// Which way it is, and why.
  std::string to_text() const;

 private:
  const ExecutionChoice& choice_for(RowType type) const { return type == RowType::kUint8 ? bytes_ : floats_; }
  bool is_refused(const ExecutionChoice& choice) const {
    return choice.persistent && choice.persistent->exchange != Exchange::kNone && *refuses_teams_;
  }
  std::string to_text(const ExecutionChoice& choice) const;

  std::optional<persistent::Chain> chain_;
  ExecutionChoice bytes_, floats_;  // for data sets of uint8, and of floats
  std::shared_ptr<std::atomic<bool>> refuses_teams_;
  int64_t scratch_ = 0;
};

}  // namespace engine::cuda
