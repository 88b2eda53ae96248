// Checks the emulation of CUDA (emulated_cuda/) with small kernels whose results, or whose planted errors, are known.
// It runs twice: as it is, and compiled with -fsanitize=thread, which makes the emulation check each access of a
// kernel.
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "check.h"

namespace engine::test {
namespace {

namespace cg = cooperative_groups;

float* shared_floats() { return static_cast<float*>(emulated::dynamic_shared_memory()); }

/// How a kernel is launched.
struct Shape {
  dim3 grid, block;
  size_t shared_bytes = 0;
  dim3 cluster = 1;
  bool cooperative = false;
  cudaStream_t stream = nullptr;
};

template <class... P, class... A>
cudaError_t launch(const Shape& shape, void (*kernel)(P...), A&&... arguments) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim.x = shape.cluster.x;
  attributes[0].val.clusterDim.y = shape.cluster.y;
  attributes[0].val.clusterDim.z = shape.cluster.z;
  attributes[1].id = cudaLaunchAttributeCooperative;
  attributes[1].val.cooperative = shape.cooperative ? 1 : 0;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(arguments)...);
}

/// What the kernel did wrong, according to the emulation; empty if nothing.
template <class... P, class... A>
std::string error_of(const Shape& shape, void (*kernel)(P...), A&&... arguments) {
  try {
    return launch(shape, kernel, std::forward<A>(arguments)...) == cudaSuccess ? "" : "the launch was refused";
  } catch (const emulated::KernelError& error) {
    return error.what();
  }
}

/// Prints the error if it is another one than expected.
bool check_error(const std::string& error, const std::string& expected, const char* what) {
  const bool right = expected.empty() ? error.empty() : error.find(expected) != std::string::npos;
  if (!right) std::printf("%s\n", error.c_str());
  return check(right, what);
}

/// Card memory that holds `size` elements.
template <class T>
class CardArray {
 public:
  explicit CardArray(size_t size) : size_(size) { cudaMalloc(&data_, size * sizeof(T)); }
  explicit CardArray(const std::vector<T>& values) : CardArray(values.size()) {
    cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~CardArray() { cudaFree(data_); }
  CardArray(const CardArray&) = delete;
  CardArray& operator=(const CardArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(size_);
    cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

std::vector<float> numbers(size_t size) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = static_cast<float>(i);
  return values;
}

// ---- Kernels without errors

__global__ void add(const float* a, const float* b, float* sum, int size) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < size) sum[i] = a[i] + b[i];
}

/// out [0] = the sum of in [size], by a block whose number of threads is a power of two.
__global__ void sum_in_shared_memory(const float* in, float* out, int size) {
  float* partial = shared_floats();
  const int t = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int i = t; i < size; i += static_cast<int>(blockDim.x)) sum += in[i];
  partial[t] = sum;
  for (int half = static_cast<int>(blockDim.x) / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) partial[t] += partial[t + half];
  }
  if (t == 0) out[0] = partial[0];
}

/// The first lanes of each warp and the others add their numbers among themselves.
__global__ void sum_in_divergent_code(int* out, int first) {
  const int lane = static_cast<int>(threadIdx.x) % warpSize;
  const unsigned int low = (1u << first) - 1;
  const unsigned int mask = lane < first ? low : ~low;
  const int count = lane < first ? first : warpSize - first;
  int sum = lane;
  if (lane < first) {
    for (int distance = count / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(mask, sum, distance, count);
  } else {
    for (int distance = count / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(mask, sum, distance, count);
  }
  out[threadIdx.x] = sum;
}

/// Lanes from `alive` on end at once.
__global__ void vote_of_the_living(unsigned int* out, int alive) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane >= alive) return;
  const unsigned int odd = __ballot_sync(0xffffffff, lane % 2);
  if (lane == 0) *out = odd;
}

/// A value goes around in the warp through shared memory.
__global__ void pass_on_in_warp(float* out) {
  float* values = shared_floats();
  const unsigned int t = threadIdx.x;
  values[t] = static_cast<float>(t);
  __syncwarp();
  const float next = values[(t + 1) % blockDim.x];
  __syncwarp();
  values[t] = next;
  out[t] = next;
}

/// Each block of a cluster adds what all blocks of it have in shared memory.
__global__ void exchange_in_cluster(float* out) {
  const cg::cluster_group cluster = cg::this_cluster();
  float* mine = shared_floats();
  mine[threadIdx.x] = static_cast<float>(blockIdx.x * blockDim.x + threadIdx.x);
  cluster.sync();
  float sum = 0;
  for (unsigned int rank = 0; rank < cluster.num_blocks(); ++rank) {
    sum += cluster.map_shared_rank(mine, static_cast<int>(rank))[threadIdx.x];
  }
  cluster.sync();
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

/// The same a hundred times with two buffers and a barrier whose halves lie apart.
__global__ void exchange_with_split_barrier(float* out) {
  const cg::cluster_group cluster = cg::this_cluster();
  const unsigned int other = (cluster.block_rank() + 1) % cluster.num_blocks();
  float* buffers = shared_floats();
  float value = static_cast<float>(cluster.block_rank());
  for (unsigned int step = 0; step < 100; ++step) {
    float* buffer = buffers + (step % 2) * blockDim.x;
    buffer[threadIdx.x] = value;
    auto token = cluster.barrier_arrive();
    value *= 2;  // lies between the halves
    cluster.barrier_wait(std::move(token));
    value = cluster.map_shared_rank(buffer, static_cast<int>(other))[(threadIdx.x + 1) % blockDim.x];
  }
  cluster.sync();
  out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

/// values [blocks * threads] move by one element in each step, through a second array of the same size.
__global__ void rotate_over_grid(float* values, float* copy, int steps) {
  const cg::grid_group grid = cg::this_grid();
  const auto size = static_cast<unsigned int>(grid.num_threads());
  const auto i = static_cast<unsigned int>(grid.thread_rank());
  for (int step = 0; step < steps; ++step) {
    copy[(i + 1) % size] = values[i];
    grid.sync();
    values[i] = copy[i];
    grid.sync();
  }
}

__global__ void count_odd(const int* values, int size, int* count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < size && values[i] % 2 != 0) atomicAdd(count, 1);
}

/// The last block to end adds what the others have written.
__global__ void sum_by_last_block(float* partial, unsigned int* ended, float* out) {
  bool* is_last = static_cast<bool*>(emulated::dynamic_shared_memory());
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = static_cast<float>(blockIdx.x);
    __threadfence();
    *is_last = atomicAdd(ended, 1u) + 1 == gridDim.x;
    __threadfence();
  }
  __syncthreads();
  if (*is_last && threadIdx.x == 1) {
    float sum = 0;
    for (unsigned int block = 0; block < gridDim.x; ++block) sum += partial[block];
    *out = sum;
  }
}

/// A barrier of the grid that is made of atomics.
__global__ void pass_on_by_atomics(float* values, unsigned int* arrived, int steps) {
  float sum = 0;
  for (int step = 0; step < steps; ++step) {
    float* now = values + static_cast<unsigned int>(step) * gridDim.x;
    if (threadIdx.x == 0) now[blockIdx.x] = static_cast<float>(step);
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(arrived, 1u);
      while (atomicAdd(arrived, 0u) < static_cast<unsigned int>(step + 1) * gridDim.x) __nanosleep(20);
      __threadfence();
    }
    __syncthreads();
    sum += now[(blockIdx.x + 1) % gridDim.x];
  }
  __syncthreads();
  if (threadIdx.x == 0) values[blockIdx.x] = sum;
}

__global__ void nibbles(const uint8_t* bytes, uint8_t* low, float4* wide, int size) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < size) low[i] = bytes[i] & 15;
  if (i < size / 4) wide[i] = make_float4(0, 1, 2, static_cast<float>(bytes[i]));
}

__global__ void wait_often(int times) {
  for (int i = 0; i < times; ++i) __syncthreads();
}

// ---- Kernels with errors

/// Thread t reads what thread t + 1 has written, without a barrier.
__global__ void race_in_shared_memory(float* out) {
  float* values = shared_floats();
  values[threadIdx.x] = 1;
  if (threadIdx.x < warpSize) __syncwarp();
  out[threadIdx.x] = values[(threadIdx.x + 1) % blockDim.x];
}

/// The barrier of a block does not order what other blocks do.
__global__ void race_across_blocks(float* values, float* out) {
  values[blockIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = values[(blockIdx.x + 1) % gridDim.x];
}

/// A block may go on to the next step while its neighbour still reads.
__global__ void race_in_cluster() {
  const cg::cluster_group cluster = cg::this_cluster();
  float* mine = shared_floats();
  mine[threadIdx.x] = 0;
  cluster.sync();
  const unsigned int other = (cluster.block_rank() + 1) % cluster.num_blocks();
  mine[threadIdx.x] += cluster.map_shared_rank(mine, static_cast<int>(other))[threadIdx.x];
  cluster.sync();
}

/// Without a fence, an atomic says nothing of other words.
__global__ void tell_without_fence(float* value, unsigned int* flag, float* out) {
  if (blockIdx.x == 0) {
    *value = 1;
    atomicAdd(flag, 1u);
  } else {
    while (atomicAdd(flag, 0u) == 0) __nanosleep(20);
    __threadfence();
    *out = *value;
  }
}

/// What comes after the arrival is not ordered by the barrier.
__global__ void write_after_arrival() {
  const cg::cluster_group cluster = cg::this_cluster();
  float* mine = shared_floats();
  mine[threadIdx.x] = 0;
  cluster.sync();
  cluster.barrier_arrive();
  mine[threadIdx.x] = 1;
  cluster.barrier_wait();
  const float sum = *cluster.map_shared_rank(mine, 0);
  if (sum > 2) __trap();
  cluster.sync();
}

__global__ void skip_barrier() {
  if (threadIdx.x < blockDim.x / 2) __syncthreads();
}

__global__ void part_at_barriers() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void skip_barrier_of_grid() {
  if (blockIdx.x > 0) cg::this_grid().sync();
}

__global__ void shuffle_with_absent_lane() {
  if (threadIdx.x == 3) __syncthreads();
  __shfl_sync(0xffffffff, 1, 0);
  __syncthreads();
}

__global__ void write_behind(float* values, int size) { values[size] = 1; }

__global__ void write_behind_shared_memory(int size) { shared_floats()[size] = 1; }

__global__ void read_misaligned(const float* values, float* out) {
  out[0] = reinterpret_cast<const float4*>(values + 1)->y;
  const float4 four = *reinterpret_cast<const float4*>(values + threadIdx.x);
  *reinterpret_cast<float4*>(out + 4) = make_float4(four.w, four.z, four.y, four.x);
}

__global__ void read_fresh(const float* values, float* out) { out[threadIdx.x] = values[threadIdx.x]; }

__global__ void read_fresh_shared_memory(float* out) { out[threadIdx.x] = shared_floats()[threadIdx.x]; }

__global__ void leave_cluster_early(float* out) {
  const cg::cluster_group cluster = cg::this_cluster();
  float* mine = shared_floats();
  mine[threadIdx.x] = 1;
  cluster.sync();
  if (cluster.block_rank() == 0) return;
  for (int i = 0; i < 100; ++i) __syncthreads();
  out[threadIdx.x] = cluster.map_shared_rank(mine, 0)[threadIdx.x];
}

__global__ void come_to_cluster_early(float* out) {
  float* other = cg::this_cluster().map_shared_rank(shared_floats(), 1);
  if (cg::this_cluster().block_rank() == 0) *out = *other;
}

__global__ void wait_for_nobody(unsigned int* flag) {
  while (atomicAdd(flag, 0u) == 0) {
  }
}

// ---- Checks

bool check_kernels() {
  bool right = true;
  for (const int size : {1, 31, 32, 33, 1000, 4097}) {
    const std::vector<float> a = numbers(static_cast<size_t>(size));
    const CardArray<float> x(a), sum(a.size());
    const Shape shape{static_cast<unsigned>(size + 95) / 96, 96};
    right &= error_of(shape, add, x.data(), x.data(), sum.data(), size).empty();
    const std::vector<float> got = sum.values();
    for (size_t i = 0; i < a.size(); ++i) right &= got[i] == 2 * a[i];
  }
  right = check(right, "sums of vectors of odd sizes");

  bool sums = true;
  for (const unsigned int threads : {1u, 2u, 32u, 256u, 1024u}) {
    const CardArray<float> in(numbers(1001)), out(1);
    sums &= error_of({1, threads, threads * sizeof(float)}, sum_in_shared_memory, in.data(), out.data(), 1001).empty();
    sums &= out.values()[0] == 1000 * 1001 / 2;
  }
  right &= check(sums, "a sum through shared memory");

  const CardArray<int> lanes(64);
  right &= check_error(error_of({1, 64}, sum_in_divergent_code, lanes.data(), 16), "", "shuffles in divergent code");
  const std::vector<int> by_lane = lanes.values();
  bool shuffled = true;
  for (size_t i = 0; i < 64; ++i) shuffled &= by_lane[i] == (i % 32 < 16 ? 15 * 16 / 2 : (31 * 32 - 15 * 16) / 2);
  right &= check(shuffled, "  add the lanes of each branch");

  bool votes = true;
  for (const unsigned int threads : {20u, 32u}) {
    const CardArray<unsigned int> vote(1);
    votes &= error_of({1, threads}, vote_of_the_living, vote.data(), 20).empty() && vote.values()[0] == 0xaaaaa;
  }
  right &= check(votes, "votes without lanes that have ended or never were");

  const CardArray<float> passed(32);
  right &= check_error(error_of({1, 32, 128}, pass_on_in_warp, passed.data()), "", "shared memory within a warp");
  right &= check(passed.values()[0] == 1 && passed.values()[31] == 0, "  is ordered by __syncwarp");
  return right;
}

bool check_clusters_and_grids() {
  bool right = true;
  for (const unsigned int cluster : {1u, 2u, 8u}) {
    const CardArray<float> out(16 * 64);
    right &= error_of({16, 64, 256, cluster}, exchange_in_cluster, out.data()).empty();
    const std::vector<float> got = out.values();
    for (unsigned int i = 0; i < got.size(); ++i) {
      const unsigned int first = i / 64 / cluster * cluster;
      float sum = 0;
      for (unsigned int b = first; b < first + cluster; ++b) sum += static_cast<float>(b * 64 + i % 64);
      right &= got[i] == sum;
    }
  }
  right = check(right, "exchanges in clusters");
  const CardArray<float> halves(4 * 32);
  right &= check_error(error_of({4, 32, 256, 4}, exchange_with_split_barrier, halves.data()), "",
                       "barriers of clusters in two halves");
  right &= check(halves.values()[0] == 0 && halves.values()[32] == 1, "  order both buffers");

  const CardArray<float> values(numbers(7 * 96)), copy(7 * 96);
  right &= check_error(error_of({7, 96, 0, 1, true}, rotate_over_grid, values.data(), copy.data(), 10), "",
                       "barriers of a grid");
  const std::vector<float> rotated = values.values();
  right &= check(rotated[10] == 0 && rotated[0] == 7 * 96 - 10, "  order what all blocks do");

  const CardArray<int> odd(std::vector<int>{1, 2, 3, 4, 5, 6, 7}), count(std::vector<int>{0});
  right &= check_error(error_of({2, 4}, count_odd, odd.data(), 7, count.data()), "", "atomics");
  right &= check(count.values()[0] == 4, "  count");

  const CardArray<float> partial(9), sum(1);
  const CardArray<unsigned int> ended(std::vector<unsigned int>{0});
  right &= check_error(error_of({9, 64, 16}, sum_by_last_block, partial.data(), ended.data(), sum.data()), "",
                       "the last block learns by an atomic that it is");
  right &= check(sum.values()[0] == 36, "  and adds what the others wrote before theirs");

  const CardArray<float> steps(5 * 20);
  const CardArray<unsigned int> arrived(std::vector<unsigned int>{0});
  right &= check_error(error_of({5, 64, 0, 1, true}, pass_on_by_atomics, steps.data(), arrived.data(), 20), "",
                       "a barrier of the grid made of atomics");
  right &= check(steps.values()[4] == 190, "  orders what the blocks do");

  const CardArray<uint8_t> bytes(std::vector<uint8_t>(37, 0x5a)), low(37);
  const CardArray<float4> wide(9);
  right &= check_error(error_of({1, 64}, nibbles, bytes.data(), low.data(), wide.data(), 37), "",
                       "threads that write neighbouring bytes");
  right &= check(low.values()[36] == 10 && wide.values()[8].w == 0x5a, "  and vectors");
  return right;
}

bool check_streams() {
  bool right = true;
  cudaStream_t stream;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  const CardArray<float> values(numbers(5));
  const Shape shape{1, 5, 0, 1, false, stream};
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  right &= cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess;
  right &= launch(shape, add, values.data(), values.data(), values.data(), 5) == cudaSuccess;
  right &= launch(shape, add, values.data(), values.data(), values.data(), 5) == cudaSuccess;
  right &= cudaStreamEndCapture(stream, &graph) == cudaSuccess;
  right = check(right && values.values()[4] == 4, "a captured kernel does not run");
  right &= cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess;
  for (int i = 0; i < 3; ++i) right &= cudaGraphLaunch(executable, stream) == cudaSuccess;
  right &= cudaStreamSynchronize(stream) == cudaSuccess;
  right = check(right && values.values()[4] == 4 * 64, "but each time when its graph does");

  void* refused;
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
  right &= cudaMalloc(&refused, 4) == cudaErrorStreamCaptureUnsupported;
  right &= cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated;
  right = check(right, "cudaMalloc spoils a capture");

  emulated::run_late(true);
  float* pinned;
  cudaMallocHost(&pinned, 5 * sizeof(float));
  pinned[4] = -1;
  cudaEvent_t event;
  cudaEventCreate(&event);
  launch(shape, add, values.data(), values.data(), values.data(), 5);
  cudaMemcpyAsync(pinned, values.data(), 5 * sizeof(float), cudaMemcpyDeviceToHost, stream);
  cudaEventRecord(event, stream);
  right &= check(pinned[4] == -1, "a stream that runs late has not run yet");
  right &= check(cudaEventSynchronize(event) == cudaSuccess && pinned[4] == 4 * 128, "but when its event is over");
  launch(shape, skip_barrier);
  bool threw = false;
  try {
    cudaStreamSynchronize(stream);
  } catch (const emulated::KernelError&) {
    threw = true;
  }
  right &= check(threw, "errors of late kernels come when the host waits");
  emulated::run_late(false);
  cudaEventDestroy(event);
  cudaFreeHost(pinned);
  cudaGraphExecDestroy(executable);
  cudaStreamDestroy(stream);
  return right;
}

bool check_limits() {
  bool right = true;
  const emulated::Card before = emulated::card();
  emulated::card().memory = emulated::memory_in_use() + 1000;
  void* p;
  right &= cudaMalloc(&p, 1001) == cudaErrorMemoryAllocation;
  right &= std::string(cudaGetErrorString(cudaGetLastError())) == "out of memory";
  right &= cudaMalloc(&p, 1000) == cudaSuccess && cudaFree(p) == cudaSuccess;
  right = check(right, "no more memory than the card has");
  emulated::card() = before;

  bool limits = launch({1, 1025}, wait_often, 0) == cudaErrorInvalidConfiguration;
  limits &= launch({1, 32, 49153}, wait_often, 0) == cudaErrorInvalidValue;
  limits &= cudaFuncSetAttribute(wait_often, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024) == cudaSuccess;
  limits &= launch({1, 32, 227 * 1024}, wait_often, 0) == cudaSuccess;
  limits &= launch({132, 32, 227 * 1024, 1, true}, wait_often, 0) == cudaSuccess;
  limits &= launch({133, 32, 227 * 1024, 1, true}, wait_often, 0) == cudaErrorCooperativeLaunchTooLarge;
  limits &= launch({16, 32, 0, 16}, wait_often, 0) == cudaErrorInvalidClusterSize;
  limits &= launch({12, 32, 0, 8}, wait_often, 0) == cudaErrorInvalidClusterSize;
  limits &= cudaFuncSetAttribute(wait_often, cudaFuncAttributeNonPortableClusterSizeAllowed, 1) == cudaSuccess;
  limits &= launch({16, 32, 0, 16}, wait_often, 0) == cudaSuccess;
  int blocks = 0;
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, wait_often, 256, 100 * 1024);
  limits &= blocks == 2;
  right &= check(limits, "launches that the card cannot do are refused");

  emulated::fail_after(1, cudaErrorUnknown);
  right &= check(cudaDeviceSynchronize() == cudaSuccess && cudaDeviceSynchronize() == cudaErrorUnknown &&
                     cudaDeviceSynchronize() == cudaSuccess,
                 "failures on demand");
  int count = -1;
  emulated::card().devices = 0;
  right &=
      check(cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == 0 && cudaMalloc(&p, 4) == cudaErrorNoDevice,
            "a machine without a card");
  emulated::card() = before;
  cudaGetLastError();
  return right;
}

bool check_barrier_errors() {
  bool right = true;
  const std::string skipped = error_of({2, 64}, skip_barrier);
  right &= check_error(skipped, "32 threads (0-31) wait at __syncthreads", "a barrier that some threads miss");
  right &= check_error(skipped, "32 threads (32-63) have ended", "  names those that wait and those that ended");
  right &= check_error(skipped, "skip_barrier", "  and the kernel");
  right &= check_error(error_of({1, 64}, part_at_barriers), "stand at different barriers", "different barriers");
  right &= check_error(error_of({3, 32, 0, 1, true}, skip_barrier_of_grid), "wait at the barrier of the grid",
                       "a barrier of the grid that a block misses");
  right &= check_error(error_of({3, 32}, skip_barrier_of_grid), "cooperative", "  or that is not cooperative");
  right &=
      check_error(error_of({1, 32}, shuffle_with_absent_lane), "wait for other lanes", "a shuffle that a lane misses");
  return right;
}

bool check_endless_loop() {
  const CardArray<unsigned int> flag(std::vector<unsigned int>{0});
  return check_error(error_of({1, 1}, wait_for_nobody, flag.data()), "no thread makes", "an endless loop");
}

bool check_detector() {
  bool right = true;
  const CardArray<float> values(std::vector<float>(100, 0)), out(128), fresh(100);
  const auto found = [&](const std::string& error, const char* expected, const char* what) {
    return check_error(error, expected, what);
  };
  const std::string race = error_of({1, 64, 256}, race_in_shared_memory, out.data());
  right &= found(race, "of the 256 bytes of shared memory of block 0: thread ", "a race in shared memory");
  right &= found(race, "race_in_shared_memory", "  names the kernel");
  right &= found(error_of({4, 32}, race_across_blocks, values.data(), out.data()), "of an allocation of 400 bytes",
                 "a race across blocks");
  right &= found(error_of({4, 32, 128, 4}, race_in_cluster), "race on", "a race in a cluster");
  right &= found(error_of({2, 32, 128, 2}, write_after_arrival), "race on", "a write after the arrival at a barrier");
  const CardArray<unsigned int> flag(std::vector<unsigned int>{0});
  right &= found(error_of({2, 1, 0, 1, true}, tell_without_fence, values.data(), flag.data(), out.data()), "race on",
                 "an atomic without a fence");
  right &= found(error_of({1, 1}, write_behind, values.data(), 100), "0 bytes behind an allocation of 400 bytes",
                 "a write behind an allocation");
  right &= found(error_of({1, 1, 40}, write_behind_shared_memory, 10), "out of bounds", "  and behind shared memory");
  right &=
      found(error_of({1, 2}, read_misaligned, values.data(), out.data()), "misaligned", "a vector at an odd address");
  right &= found(error_of({1, 32}, read_fresh, fresh.data(), out.data()), "which nobody has written",
                 "a read of memory that nobody has written");
  right &= found(error_of({1, 32, 128}, read_fresh_shared_memory, out.data()), "which nobody has written",
                 "  and of shared memory");
  right &= found(error_of({2, 32, 128, 2}, leave_cluster_early, out.data()), "which has ended",
                 "a read of the shared memory of a block that has ended");
  right &= found(error_of({2, 1, 128, 2}, come_to_cluster_early, out.data()), "too early", "  or may not have begun");
  return right;
}

/// Runs `f` in a child process and returns whether that dies.
template <class F>
bool dies(F&& f) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    f();
    _exit(0);  // without the destructors of the parent's objects
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && status != 0;
}

bool check_guard() {
  const CardArray<float> values(numbers(1000));
  const volatile float* p = values.data();
  bool right = check(dies([&] { return p[3] == 3 ? 0 : 1; }), "host code cannot read card memory");
  emulated::guard_memory(false);
  right &= check(!dies([&] { return p[3] == 3 ? 0 : 1; }), "  unless a test allows it");
  emulated::guard_memory(true);
  const CardArray<float> fresh(2);
  right &= check(fresh.values()[1] != fresh.values()[1], "new memory is full of NaN");
  return right;
}

void measure() {
  const auto start = std::chrono::steady_clock::now();
  launch({1, 256}, wait_often, 2000);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  std::printf("%-60s %.0f ms\n", "2,000 barriers of 256 threads", time.count());
}

bool run() {
  bool right = true;
  for (const unsigned int seed : {1u, 2u, 3u}) {
    std::printf("seed %u\n", seed);
    emulated::set_seed(seed);
    right &= check_kernels();
    right &= check_clusters_and_grids();
    right &= check_barrier_errors();
    if (emulated::checks_accesses()) right &= check_detector();
  }
  right &= check_endless_loop();
  right &= check_streams();
  right &= check_limits();
  right &= check_guard();
  right &= check(emulated::memory_in_use() == 0, "all memory is free again");
  measure();
  return right;
}

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run() ? 0 : 1; }
