// Stands in for CUDA's header of the same name: blocks, clusters and grids as groups of threads with barriers.
#pragma once
#include "emulated/device_functions.h"

namespace emulated {

/// The cluster of the current block, or the block alone if the kernel was launched without clusters.
unsigned int cluster_rank();
unsigned int cluster_blocks();
void* map_shared_rank(void* address, unsigned int rank);
void arrive_at_cluster_barrier(const char* file, int line);
void wait_at_cluster_barrier(const char* file, int line);

void wait_at_grid_barrier(const char* file, int line);

}  // namespace emulated

namespace cooperative_groups {

class thread_block {
 public:
  static void sync(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { __syncthreads(file, line); }
  static unsigned int num_threads() { return blockDim.x * blockDim.y * blockDim.z; }
  static unsigned int size() { return num_threads(); }
  static unsigned int thread_rank() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }
  static dim3 group_index() { return blockIdx; }
  static dim3 thread_index() { return threadIdx; }
  static dim3 dim_threads() { return blockDim; }
};

class cluster_group {
 public:
  struct arrival_token {};

  static void sync(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulated::arrive_at_cluster_barrier(file, line);
    emulated::wait_at_cluster_barrier(file, line);
  }
  static arrival_token barrier_arrive(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulated::arrive_at_cluster_barrier(file, line);
    return {};
  }
  static void barrier_wait(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulated::wait_at_cluster_barrier(file, line);
  }
  static void barrier_wait(arrival_token&&, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulated::wait_at_cluster_barrier(file, line);
  }
  static unsigned int block_rank() { return emulated::cluster_rank(); }
  static unsigned int num_blocks() { return emulated::cluster_blocks(); }
  static unsigned int num_threads() { return num_blocks() * thread_block::num_threads(); }
  static unsigned int thread_rank() { return block_rank() * thread_block::num_threads() + thread_block::thread_rank(); }

  /// The address that `address`, in shared memory of this block, has in block `rank` of the cluster.
  template <class T>
  static T* map_shared_rank(T* address, int rank) {
    return static_cast<T*>(emulated::map_shared_rank(address, static_cast<unsigned int>(rank)));
  }
};

class grid_group {
 public:
  static void sync(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    emulated::wait_at_grid_barrier(file, line);
  }
  static unsigned long long num_blocks() { return static_cast<unsigned long long>(gridDim.x) * gridDim.y * gridDim.z; }
  static unsigned long long block_rank() {
    return blockIdx.x + static_cast<unsigned long long>(gridDim.x) * (blockIdx.y + gridDim.y * blockIdx.z);
  }
  static unsigned long long num_threads() { return num_blocks() * thread_block::num_threads(); }
  static unsigned long long size() { return num_threads(); }
  static unsigned long long thread_rank() {
    return block_rank() * thread_block::num_threads() + thread_block::thread_rank();
  }
};

inline thread_block this_thread_block() { return {}; }
inline cluster_group this_cluster() { return {}; }
inline grid_group this_grid() { return {}; }

}  // namespace cooperative_groups
