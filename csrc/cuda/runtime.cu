#include <unistd.h>

#include <utility>

#include "cuda/runtime.h"

namespace engine::cuda {
namespace {

std::string mebibytes(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

constexpr const char* kLess = " Use a smaller `batch_size`, or the CPU: engine.config.set_device('cpu')";

[[noreturn]] void refuse(int64_t bytes) {
  cudaGetLastError();  // so that later calls succeed again
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw OutOfMemory("the GPU can't hold another " + mebibytes(static_cast<size_t>(bytes)) + ": " + mebibytes(free) +
                    " of its " + mebibytes(total) + " are free." + kLess);
}

/// The process that was the first to use a card.
pid_t first_user() {
  static const pid_t process = getpid();
  return process;
}

}  // namespace

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  if (status == cudaErrorMemoryAllocation) {
    throw OutOfMemory(std::string("the GPU ran out of memory while ") + doing + "." + kLess);
  }
  throw Error(std::string("the GPU failed while ") + doing + ": " + cudaGetErrorString(status));
}

OnCard::OnCard(int index) {
  if (first_user() != getpid()) {
    throw Error("a forked process can't use a GPU that its parent has used: start it with multiprocessing's \"spawn\"");
  }
  check(cudaGetDevice(&former_), "asking which it is");
  check(cudaSetDevice(index), "selecting it");
}

OnCard::~OnCard() { cudaSetDevice(former_); }

std::shared_ptr<void> allocate(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes > 0 ? bytes : 1));
  if (status == cudaErrorMemoryAllocation) refuse(bytes);
  check(status, "allocating memory");
  return {memory, [](void* p) { cudaFree(p); }};
}

std::shared_ptr<void> allocate_pinned(int64_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, static_cast<size_t>(bytes > 0 ? bytes : 1)), "allocating memory of the host");
  return {memory, [](void* p) { cudaFreeHost(p); }};
}

Stream::Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream"); }

Stream::~Stream() { cudaStreamDestroy(stream_); }

void Stream::copy(void* to, const void* from, int64_t bytes) const {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream_), "copying");
}

void Stream::fill_zeros(void* memory, int64_t bytes) const {
  if (bytes == 0) return;
  check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream_), "filling memory with zeros");
}

void Stream::wait() const { check(cudaStreamSynchronize(stream_), "running its kernels"); }

}  // namespace engine::cuda
