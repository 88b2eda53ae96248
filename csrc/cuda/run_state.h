// What a workspace keeps on the card from run to run.
#pragma once
#include <cstdint>
#include <memory>

#include "cuda/batch.h"
#include "cuda/captured_kernels.h"

namespace engine::cuda {

class RunState {
 public:
  /// Some batches that are told to the card together, in memory of the host and of the card, and their kernels.
  struct Parcel {
    std::shared_ptr<void> on_host, on_card;
    cudaEvent_t done = nullptr;  // once the kernels of its batches have ended
    CapturedKernels kernels;
  };

  /// For batches of up to `batch_size` samples, of which `batches` at most are told to the card together.
  RunState(int64_t batch_size, int64_t batches);
  ~RunState();
  RunState(const RunState&) = delete;
  RunState& operator=(const RunState&) = delete;

  const Stream stream;

  /// A parcel that no kernel reads any more.
  Parcel& next_parcel();
  /// Where the batches begin in a parcel, behind the rows of their samples.
  int64_t order_bytes() const { return order_bytes_; }
  int64_t batches() const { return batches_; }

  /// Memory of the card that stays where it is from run to run, as long as it is not asked to be larger.
  enum class Purpose { kTotals, kRows, kOutputs, kNonfinite };
  void* memory(Purpose purpose, int64_t bytes);

 private:
  struct Block {
    std::shared_ptr<void> memory;
    int64_t bytes = 0;
  };

  int64_t batches_, order_bytes_;
  Parcel parcels_[2];
  Block blocks_[4];
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
