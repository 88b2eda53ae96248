// How the blocks of a team wait for each other and read each other's numbers. Each of the types has
//     rank(), blocks()      this block's number among so many
//     arrive(), wait()      a barrier in two halves; all threads call both, and what they wrote before is then seen
//     arrive_with_shared()  the first half, where others read only what lies in shared memory, if they can read that
//     kSharesMemory         whether blocks read each other's shared memory, or else memory of the card
//     of_block(rank, mine)  where that block has what this one has at `mine`
#pragma once
#include <cooperative_groups.h>

#include "cuda/chains/network.h"

namespace engine::cuda::chains {

/// A block alone.
struct OneBlock {
  static constexpr bool kSharesMemory = true;
  __device__ explicit OneBlock(unsigned*) {}
  __device__ int rank() const { return 0; }
  __device__ int blocks() const { return 1; }
  __device__ void arrive() {}
  __device__ void arrive_with_shared() {}
  __device__ void wait() { __syncthreads(); }
  __device__ float* of_block(int, float* mine) const { return mine; }
};

/// A cluster: blocks that run on neighbouring multiprocessors (compute capability 9.0 and later).
struct Cluster {
  static constexpr bool kSharesMemory = true;
  __device__ explicit Cluster(unsigned*) {}
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  __device__ int rank() const { return static_cast<int>(cooperative_groups::this_cluster().block_rank()); }
  __device__ int blocks() const { return static_cast<int>(cooperative_groups::this_cluster().num_blocks()); }
  __device__ void arrive() {
    __syncwarp();  // the threads of a warp have to come to these together
    cooperative_groups::this_cluster().barrier_arrive();
  }
  __device__ void arrive_with_shared() {
#if defined(__CUDACC__)
    // A fence for all memory of the card would take longer than the barrier. This one does not order reads of other
    // blocks' memory: what a thread has read of others it has stored in its own memory before, as add_partial_sums and
    // gather_rows do, and such a store waits for the read.
    __syncwarp();
    asm volatile("fence.release.sync_restrict::shared::cta.cluster;" : : : "memory");
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" : : : "memory");
#else
    arrive();
#endif
  }
  __device__ void wait() {
    __syncwarp();
    cooperative_groups::this_cluster().barrier_wait();
  }
  __device__ float* of_block(int rank, float* mine) const {
    return cooperative_groups::this_cluster().map_shared_rank(mine, rank);
  }
#else
  // Other cards never run it.
  __device__ int rank() const { return 0; }
  __device__ int blocks() const { return 1; }
  __device__ void arrive() {}
  __device__ void arrive_with_shared() {}
  __device__ void wait() {}
  __device__ float* of_block(int, float* mine) const { return mine; }
#endif
};

/// A grid whose blocks run at the same time: they count arrivals in memory of the card, which is zero at first.
struct Grid {
  static constexpr bool kSharesMemory = false;
  unsigned* arrivals;
  unsigned awaited = 0;

  __device__ explicit Grid(unsigned* count) : arrivals(count) {}
  __device__ int rank() const { return static_cast<int>(blockIdx.x); }
  __device__ int blocks() const { return static_cast<int>(gridDim.x); }
  __device__ void arrive() {
    awaited += gridDim.x;
    __syncthreads();
    if (threadIdx.x != 0) return;
    __threadfence();
    atomicAdd(arrivals, 1u);
  }
  __device__ void arrive_with_shared() { arrive(); }
  __device__ void wait() {
    if (threadIdx.x == 0) {
      // The count may go round: the difference does not.
      while (static_cast<int>(atomicAdd(arrivals, 0u) - awaited) < 0) __nanosleep(kPause);
      __threadfence();
    }
    __syncthreads();
  }

 private:
  static constexpr unsigned kPause = 20;  // nanoseconds, a small part of the way to memory and back
};

}  // namespace engine::cuda::chains
