// CUDA's runtime: what it reports becomes an exception, and what it hands out is freed with its last owner.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace engine::cuda {

/// What the card or its driver refused.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The card has less memory than was asked for.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

/// Throws Error, which says what was being done, or OutOfMemory, unless the status is that of success.
void check(cudaError_t status, const char* doing);

/// Whether this process was forked from one that had asked CUDA for anything: CUDA does not work in it.
bool is_forked();
/// Throws Error in such a process.
void require_unforked();

/// Whether a card that was asked about its limits won't run a launch within them all the same, as others may have a
/// part of it (MPS, MIG).
bool is_refusal(cudaError_t status);

/// While it lives, the calls of this thread are about card number `index`. Throws Error in a forked process.
class DeviceGuard {
 public:
  explicit DeviceGuard(int index);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int index_, former_ = 0;
};

/// The card that calls of this thread are about.
int current_card();

/// Calls `release`, which frees what belongs to card `card`. Does nothing in a forked process, whose parent owns it.
void release_on(int card, const std::function<void()>& release) noexcept;

/// Memory of the card, not initialised. The driver keeps some of what is freed for later calls, so that this is quick.
/// Kernels that use the memory must have ended when its last owner goes. Throws OutOfMemory, which ends with `advice`.
std::shared_ptr<void> allocate(int64_t bytes, const char* advice = "use a smaller `batch_size`");

/// Memory of the host that the card copies from and to while the host goes on.
std::shared_ptr<void> allocate_pinned(int64_t bytes);

/// Kernels and copies that run one after the other.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  /// The card whose kernels run on it: that of the thread that made it.
  int card() const { return card_; }
  void copy(void* to, const void* from, int64_t bytes) const;
  void fill_zeros(void* memory, int64_t bytes) const;
  /// Waits until all that was started has ended. Throws Error where a kernel failed.
  void wait() const;

 private:
  int card_;
  cudaStream_t stream_ = nullptr;
};

/// Held while a thread captures kernels: shared, since several may.
std::shared_mutex& capturing();

/// Waits until the current card has done all work of the process, in all streams of all libraries. No thread captures
/// kernels meanwhile, since that would make their capture invalid.
cudaError_t wait_for_card();

/// The stream of the current card on which memory is allocated and freed, and on which numbers are copied outside of
/// runs. It is never destroyed.
const Stream& copy_stream();

/// A copy of some numbers in memory of the card, such as what a schedule reads in each batch.
template <class T>
std::shared_ptr<const T> copy_to_card(const std::vector<T>& numbers) {
  const auto bytes = static_cast<int64_t>(numbers.size() * sizeof(T));
  const std::shared_ptr<void> memory = allocate(bytes);
  copy_stream().copy(memory.get(), numbers.data(), bytes);
  copy_stream().wait();
  return std::static_pointer_cast<const T>(memory);
}

}  // namespace engine::cuda
