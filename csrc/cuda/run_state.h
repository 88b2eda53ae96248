// What a workspace keeps on the card from run to run.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>

#include "cuda/batch.h"
#include "cuda/captured_kernels.h"

namespace engine::cuda {

/// How many batches to start together, so that the caller is asked often whether to go on, and the card never waits.
class GroupSize {
 public:
  explicit GroupSize(int64_t most) : most_(most) {}

  /// Begins a run: the time since the one before says nothing.
  void begin_run() { started_ = false; }
  /// The size of the next group: twice that of the last one if the card was done with it soon, half if late.
  int64_t next();

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kShort{8}, kLong{32};

  int64_t most_, batches_ = 1;
  bool started_ = false;
  Clock::time_point last_;
};

class RunState {
 public:
  /// A group of batches that are started together: what kernels are told of each, in memory of the host and of the
  /// card, and the kernels.
  struct Group {
    std::shared_ptr<void> on_host, on_card;
    int card = current_card();
    cudaEvent_t done = nullptr;  // once the kernels of its batches have ended
    CapturedKernels kernels;

    Group();
    ~Group();
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;
  };

  /// For groups of up to `batches` batches. Each tells the card up to `order_rows` row numbers of the data set, for
  /// all of its batches.
  RunState(int64_t order_rows, int64_t batches);

  const Stream stream;
  GroupSize group_size;

  /// A group that no kernel reads any more.
  Group& next_group();
  /// Where the batches begin in a group, behind the row numbers of their samples.
  int64_t order_bytes() const { return order_bytes_; }
  int64_t batches() const { return batches_; }

  /// Memory of the card that stays where it is from run to run, as long as it is not asked to be larger.
  enum class Purpose { kTotals, kRows, kOutputs, kNonfinite, kWorkspace };
  void* memory(Purpose purpose, int64_t bytes);

 private:
  struct Block {
    std::shared_ptr<void> memory;
    int64_t bytes = 0;
  };

  int64_t batches_, order_bytes_;
  Group groups_[2];
  Block blocks_[5];
  size_t turn_ = 0;
};

/// Waits for the stream when an exception leaves its scope, so that no kernel or copy still uses memory that others get
/// then.
class WaitOnError {
 public:
  explicit WaitOnError(const Stream& stream);
  ~WaitOnError();
  WaitOnError(const WaitOnError&) = delete;
  WaitOnError& operator=(const WaitOnError&) = delete;

 private:
  const Stream& stream_;
  const int exceptions_;
};

}  // namespace engine::cuda
