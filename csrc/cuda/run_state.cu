#include <algorithm>
#include <exception>

#include "cuda/run_state.h"

namespace engine::cuda {

int64_t GroupSize::next() {
  const Clock::time_point now = Clock::now();
  if (started_ && now - last_ < kShort) batches_ = std::min(2 * batches_, most_);
  if (started_ && now - last_ > kLong) batches_ = std::max(batches_ / 2, int64_t{1});
  started_ = true;
  last_ = now;
  return batches_;
}

RunState::Group::Group() { check(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "creating an event"); }

RunState::Group::~Group() {
  release_on(card, [this] { cudaEventDestroy(done); });
}

RunState::RunState(int64_t order_rows, int64_t batches)
    : group_size(batches),
      batches_(batches),
      order_bytes_((order_rows * static_cast<int64_t>(sizeof(int32_t)) + 15) / 16 * 16) {
  const int64_t bytes = order_bytes_ + batches_ * static_cast<int64_t>(sizeof(Batch));
  for (Group& group : groups_) {
    group.on_host = allocate_pinned(bytes);
    group.on_card = allocate(bytes);
  }
}

RunState::Group& RunState::next_group() {
  Group& group = groups_[turn_++ % 2];
  check(cudaEventSynchronize(group.done), "running its kernels");
  return group;
}

void* RunState::memory(Purpose purpose, int64_t bytes) {
  Block& block = blocks_[static_cast<size_t>(purpose)];
  if (block.bytes < bytes || !block.memory) block = {allocate(bytes), bytes};
  return block.memory.get();
}

WaitOnError::WaitOnError(const Stream& stream) : stream_(stream), exceptions_(std::uncaught_exceptions()) {}

WaitOnError::~WaitOnError() {
  if (std::uncaught_exceptions() > exceptions_) cudaStreamSynchronize(stream_.get());
}

}  // namespace engine::cuda
