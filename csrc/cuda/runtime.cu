#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "cuda/runtime.h"

namespace engine::cuda {
namespace {

std::string mebibytes(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

std::string with_advice(const char* advice) {
  return std::string(" Either ") + advice + ", or use the CPU: engine.config.set_device('cpu')";
}

[[noreturn]] void refuse(int64_t bytes, const char* advice) {
  cudaGetLastError();  // so that later calls succeed again
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw OutOfMemory("the GPU can't hold another " + mebibytes(static_cast<size_t>(bytes)) + ": " + mebibytes(free) +
                    " of its " + mebibytes(total) + " are free." + with_advice(advice));
}

/// Whether the process has a context on a card, which takes some hundred MiB of its memory.
bool has_context(int device) {
  using GetState = int (*)(int device, unsigned* flags, int* active);
  static const auto get_state = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    constexpr unsigned kFirstVersion = 7000;
    const cudaError_t status = cudaGetDriverEntryPointByVersion("cuDevicePrimaryCtxGetState", &function, kFirstVersion,
                                                                cudaEnableDefault, &found);
    return status == cudaSuccess ? reinterpret_cast<GetState>(function) : nullptr;
  }();
  unsigned flags = 0;
  int active = 0;
  return get_state && get_state(device, &flags, &active) == 0 && active != 0;
}

}  // namespace

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  if (status == cudaErrorMemoryAllocation) {
    throw OutOfMemory(std::string("the GPU ran out of memory while ") + doing + "." +
                      with_advice("use a smaller `batch_size`"));
  }
  throw Error(std::string("the GPU failed while ") + doing + ": " + cudaGetErrorString(status));
}

bool is_forked() {
  static const pid_t first_user = getpid();
  return first_user != getpid();
}

void require_unforked() {
  if (!is_forked()) return;
  throw Error("a forked process can't use a GPU that its parent has used: start it with multiprocessing's \"spawn\"");
}

bool is_refusal(cudaError_t status) {
  return status == cudaErrorLaunchOutOfResources || status == cudaErrorCooperativeLaunchTooLarge ||
         status == cudaErrorInvalidClusterSize || status == cudaErrorInvalidConfiguration ||
         status == cudaErrorNotSupported;
}

DeviceGuard::DeviceGuard(int index) : index_(index) {
  require_unforked();
  former_ = current_card();
  check(cudaSetDevice(index), "selecting it");
}

/// Selecting a card makes a context there, so this happens only where one is.
DeviceGuard::~DeviceGuard() {
  if (former_ != index_ && has_context(former_)) cudaSetDevice(former_);
}

int current_card() {
  int card = 0;
  check(cudaGetDevice(&card), "asking which it is");
  return card;
}

void release_on(int card, const std::function<void()>& release) noexcept {
  if (is_forked()) return;
  int former = 0;
  cudaGetDevice(&former);
  if (former != card) cudaSetDevice(card);
  release();
  if (former != card && has_context(former)) cudaSetDevice(former);
}

std::shared_ptr<void> allocate(int64_t bytes, const char* advice) {
  void* memory = nullptr;
  const Stream& stream = copy_stream();
  const cudaError_t status = cudaMallocAsync(&memory, static_cast<size_t>(bytes > 0 ? bytes : 1), stream.get());
  if (status == cudaErrorMemoryAllocation) refuse(bytes, advice);
  check(status, "allocating memory");
  std::shared_ptr<void> owner(
      memory, [&stream](void* p) { release_on(stream.card(), [&] { cudaFreeAsync(p, stream.get()); }); });
  stream.wait();
  return owner;
}

std::shared_ptr<void> allocate_pinned(int64_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, static_cast<size_t>(bytes > 0 ? bytes : 1)), "allocating memory of the host");
  return {memory, [card = current_card()](void* p) { release_on(card, [p] { cudaFreeHost(p); }); }};
}

Stream::Stream() : card_(current_card()) {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
}

Stream::~Stream() {
  release_on(card_, [this] { cudaStreamDestroy(stream_); });
}

void Stream::copy(void* to, const void* from, int64_t bytes) const {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream_), "copying");
}

void Stream::fill_zeros(void* memory, int64_t bytes) const {
  if (bytes == 0) return;
  check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream_), "filling memory with zeros");
}

void Stream::wait() const { check(cudaStreamSynchronize(stream_), "running its kernels"); }

std::shared_mutex& capturing() {
  static auto& mutex = *new std::shared_mutex;
  return mutex;
}

cudaError_t wait_for_card() {
  const std::lock_guard<std::shared_mutex> lock(capturing());
  return cudaDeviceSynchronize();
}

const Stream& copy_stream() {
  static std::mutex mutex;
  static auto& streams = *new std::vector<std::unique_ptr<Stream>>;
  const auto card = static_cast<size_t>(current_card());
  const std::lock_guard<std::mutex> lock(mutex);
  streams.resize(std::max(streams.size(), card + 1));
  auto& stream = streams[card];
  if (!stream) stream = std::make_unique<Stream>();
  return *stream;
}

}  // namespace engine::cuda
