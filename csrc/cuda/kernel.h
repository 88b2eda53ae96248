// How kernels are written and started. What a kernel does is a *kernel body*: a struct of pointers and sizes with a
// function
//     __device__ void run(const Batch& batch) const
// that all threads of a grid call. It divides its work among blocks itself, so that any number of them gives the same
// results.
#pragma once
#include <type_traits>

#include "cuda/batch.h"
#include "cuda/runtime.h"

namespace engine::cuda {

/// Threads of every block.
inline constexpr int kThreads = 256;
inline constexpr int kWarp = 32;

/// The memory that the threads of a block share.
__device__ inline float* shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ float4 memory[];
  return reinterpret_cast<float*>(memory);
#else
  return static_cast<float*>(emulated::dynamic_shared_memory());
#endif
}

/// Arguments of kernels are at most so large before CUDA 12.1, and later on cards before compute capability 7.0.
inline constexpr size_t kMaxArgumentBytes = 4096;

/// What all threads of a block read and one of them makes, by make(to), in shared memory from byte `place` on. All
/// threads of the block must call it. Large structs lie there since each thread would keep a copy in its local memory,
/// which is slow, and for which the driver reserves some hundred MiB of the card.
template <class T, class F>
__device__ inline const T& once_in_block(int64_t place, F&& make) {
  T* const made = reinterpret_cast<T*>(reinterpret_cast<char*>(shared_memory()) + place);
  if (threadIdx.x == 0) make(*made);
  __syncthreads();
  return *made;
}

template <class Body>
__global__ void __launch_bounds__(kThreads) run_kernel(const __grid_constant__ Body body, const Batch* batch) {
  body.run(*batch);
}

template <class Body>
void launch(cudaStream_t stream, const Body& body, const Batch* batch, int64_t blocks, int64_t shared_bytes) {
  static_assert(std::is_trivially_copyable_v<Body>, "what a kernel body refers to must lie in memory of the card");
  static_assert(sizeof(Body) + sizeof(batch) <= kMaxArgumentBytes);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, run_kernel<Body>, body, batch), "starting a kernel");
}

// ---- How the threads of a grid divide work ----------------------------------------------------------------------

/// Calls f(i) for each i below n, by all threads of the grid.
template <class F>
__device__ inline void for_each(int64_t n, F&& f) {
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += threads) f(i);
}

/// Calls f(i) for each i below n, by all warps of the grid; the threads of a warp get the same i.
template <class F>
__device__ inline void for_each_by_warp(int64_t n, F&& f) {
  constexpr int kWarps = kThreads / kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp; i < n; i += warps) f(i);
}

/// The sum of each thread's number over so many neighbours of a warp, in pairs: every thread gets the same bits.
template <int Lanes, class T>
__device__ inline T sum_of_lanes(T x) {
  for (int distance = Lanes / 2; distance > 0; distance /= 2) x = x + __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}
template <class T>
__device__ inline T sum_of_warp(T x) {
  return sum_of_lanes<kWarp>(x);
}

/// The sum of each thread's number over the threads of a block, in pairs. Every thread of the block must call it.
__device__ inline double sum_of_block(double x) {
  auto* const sums = reinterpret_cast<double*>(shared_memory());
  const double of_warp = sum_of_warp(x);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = of_warp;
  __syncthreads();
  double total = 0.0;
  for (int warp = 0; warp < kThreads / kWarp; ++warp) total += sums[warp];
  return total;
}
inline constexpr int64_t kSumBytes = kThreads / kWarp * static_cast<int64_t>(sizeof(double));

/// Stands for a type in a call.
template <class T>
struct Tag {
  using Type = T;
};

/// Calls f(Tag<Formula>{}) for that one of the formulas whose kind is `kind`.
template <class Kind, class F, class... Formulas>
__device__ inline void with_formula(Kind kind, Types<Formulas...>, F&& f) {
  ((kind == Formulas::kKind && (f(Tag<Formulas>{}), true)) || ...);
}

}  // namespace engine::cuda
