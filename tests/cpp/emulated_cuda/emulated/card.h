// What a test sets and asks of the emulated card. Kernels and host code of csrc/cuda know nothing of it. Programs that
// cannot call these functions set the environment: EMULATED_CUDA_DEVICES, EMULATED_CUDA_MEMORY (bytes),
// EMULATED_CUDA_MULTIPROCESSORS, EMULATED_CUDA_REFUSES_TEAMS=1, EMULATED_CUDA_SEED, and EMULATED_CUDA_LATE=1.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "emulated/runtime_types.h"

namespace emulated {

/// The machine's cards, all alike: by default one that is like an H100, with 16 GiB of memory.
struct Card {
  int devices = 1;
  cudaError_t driver = cudaSuccess;  // otherwise what every call returns, such as cudaErrorInsufficientDriver
  size_t memory = size_t{16} << 30;  // bytes, at most the default
  int multiprocessors = 132;
  int processing_clusters = 8;  // a cluster of blocks runs within one of these groups of multiprocessors (GPC)
  int major = 9, minor = 0;     // compute capability
  size_t shared_memory_per_block = 227 * 1024;  // after cudaFuncSetAttribute; at most the default
  size_t shared_memory_per_multiprocessor = 228 * 1024;
  int threads_per_multiprocessor = 2048;
  int blocks_per_multiprocessor = 32;
  int registers_per_thread = 32;  // of every kernel
  uint64_t refuses_teams = 0;     // from this launch of a cluster or a cooperative grid on, it fails them; 0: none
};

/// The card, to be changed by the test.
Card& card();

/// Sets the order in which threads and blocks run. The same seed gives the same order.
void set_seed(uint64_t seed);

/// If true, work given to a stream runs as late as possible: when the host waits for it. If false, it runs at once.
void run_late(bool late);

/// Makes the call of the runtime after the next `calls` ones fail with `error`.
void fail_after(int calls, cudaError_t error);

/// If false, host code may read and write card memory, and launches take less time.
void guard_memory(bool guarded);

/// The number of kernels that have run, and the bytes of card memory that are allocated.
int64_t kernels_run();
size_t memory_in_use();

/// Whether the accesses of kernels are checked: a part of the program was compiled with -fsanitize=thread.
bool checks_accesses();

/// What a launch throws if the kernel does what a card does not allow: a barrier that not all threads reach, and, where
/// accesses are checked, races, accesses out of bounds and reads of memory that nobody has written. If the stream
/// runs late, the call that waits for it throws.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The dynamic shared memory of the current block, aligned to 1,024 bytes.
void* dynamic_shared_memory();

}  // namespace emulated
