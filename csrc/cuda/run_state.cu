#include <exception>

#include "cuda/run_state.h"

namespace engine::cuda {

RunState::RunState(int64_t batch_size, int64_t batches)
    : batches_(batches), order_bytes_((batches * batch_size * static_cast<int64_t>(sizeof(int32_t)) + 15) / 16 * 16) {
  const int64_t bytes = order_bytes_ + batches_ * static_cast<int64_t>(sizeof(Batch));
  for (Parcel& parcel : parcels_) {
    parcel.on_host = allocate_pinned(bytes);
    parcel.on_card = allocate(bytes);
  }
  for (Parcel& parcel : parcels_) {
    check(cudaEventCreateWithFlags(&parcel.done, cudaEventDisableTiming), "creating an event");
  }
}

RunState::~RunState() {
  for (const Parcel& parcel : parcels_) cudaEventDestroy(parcel.done);
}

RunState::Parcel& RunState::next_parcel() {
  Parcel& parcel = parcels_[turn_++ % 2];
  check(cudaEventSynchronize(parcel.done), "running its kernels");
  return parcel;
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
