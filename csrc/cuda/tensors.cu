// Arrays of other libraries: conversion to what kernels read, and checks of all numbers, where they lie.
#include <algorithm>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/kernel.h"

namespace engine {
namespace cuda {
namespace {

/// The most axes of an array that isn't contiguous: kernels get all lengths and strides as arguments.
constexpr int kMaxAxes = 16;

/// The number that the 16 bits of a half-precision float stand for (IEEE 754, binary16).
__device__ inline float float_of_half(uint16_t half) {
  constexpr float kSmallest = 5.9604644775390625e-08f;  // 2^-24, the unit of numbers without a leading 1
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, exponent = half >> 10 & 31u;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {
    const float size = static_cast<float>(fraction) * kSmallest;
    return sign != 0 ? -size : size;
  }
  const uint32_t widened = exponent == 31u ? 255u : exponent + 112u;  // the biases are 15 and 127
  return __uint_as_float(sign | widened << 23 | fraction << 13);
}

/// Number `i` from `data` on.
template <class T>
__device__ inline T number_at(const void* data, NumberType type, int64_t i) {
  switch (type) {
    case NumberType::kBool:
      return static_cast<T>(static_cast<const uint8_t*>(data)[i] != 0 ? 1 : 0);
    case NumberType::kUint8:
      return static_cast<T>(static_cast<const uint8_t*>(data)[i]);
    case NumberType::kInt8:
      return static_cast<T>(static_cast<const int8_t*>(data)[i]);
    case NumberType::kUint16:
      return static_cast<T>(static_cast<const uint16_t*>(data)[i]);
    case NumberType::kInt16:
      return static_cast<T>(static_cast<const int16_t*>(data)[i]);
    case NumberType::kUint32:
      return static_cast<T>(static_cast<const uint32_t*>(data)[i]);
    case NumberType::kInt32:
      return static_cast<T>(static_cast<const int32_t*>(data)[i]);
    case NumberType::kUint64:
      return static_cast<T>(static_cast<const uint64_t*>(data)[i]);
    case NumberType::kInt64:
      return static_cast<T>(static_cast<const int64_t*>(data)[i]);
    case NumberType::kFloat16:
      return static_cast<T>(float_of_half(static_cast<const uint16_t*>(data)[i]));
    case NumberType::kBfloat16:
      return static_cast<T>(__uint_as_float(static_cast<uint32_t>(static_cast<const uint16_t*>(data)[i]) << 16));
    case NumberType::kFloat64:
      return static_cast<T>(static_cast<const double*>(data)[i]);
    default:
      return static_cast<T>(static_cast<const float*>(data)[i]);
  }
}

/// An array as kernels see it, with as few axes as its strides allow; the last one varies fastest.
struct Numbers {
  const void* data;
  NumberType type;
  int axes;
  int64_t length[kMaxAxes], stride[kMaxAxes];
  const int32_t* rows;  // which entries of the first axis are meant; null: all of them
  int64_t count;        // numbers that are meant
  int64_t of_row;       // numbers in an entry of the first axis

  /// Where number `i` lies, counted in the order of the array.
  __device__ int64_t place(int64_t i) const {
    if (rows) i = rows[i / of_row] * of_row + i % of_row;
    int64_t at = 0;
    for (int axis = axes - 1; axis > 0; --axis) {
      at += i % length[axis] * stride[axis];
      i /= length[axis];
    }
    return axes > 0 ? at + i * stride[0] : 0;
  }
};

/// Throws std::invalid_argument where too many axes are left.
Numbers numbers_of(const TensorView& array) {
  Numbers numbers{};
  numbers.data = array.data;
  numbers.type = array.type;
  numbers.count = array.size();
  numbers.of_row = array.shape.empty() || array.shape[0] == 0 ? 1 : numbers.count / array.shape[0];
  if (numbers.count == 0) return numbers;
  std::vector<int64_t> lengths, strides;
  for (size_t axis = 0; axis < array.shape.size(); ++axis) {
    const int64_t length = array.shape[axis], stride = array.strides[axis];
    if (length == 1) continue;
    if (!lengths.empty() && strides.back() == length * stride) {  // one stride walks through both axes
      lengths.back() *= length;
      strides.back() = stride;
    } else {
      lengths.push_back(length);
      strides.push_back(stride);
    }
  }
  if (lengths.size() > kMaxAxes) {
    throw std::invalid_argument("a tensor on a GPU may have " + std::to_string(kMaxAxes) +
                                " axes if it isn't contiguous, got " + std::to_string(array.shape.size()) +
                                ": make it contiguous first");
  }
  numbers.axes = static_cast<int>(lengths.size());
  std::copy(lengths.begin(), lengths.end(), numbers.length);
  std::copy(strides.begin(), strides.end(), numbers.stride);
  return numbers;
}

// ---- Conversion -----------------------------------------------------------------------------------------------------

struct Conversion {
  Numbers from;
  void* to;
  int64_t columns, to_stride;  // of the matrix that is written

  __device__ int64_t target(int64_t i) const { return i / columns * to_stride + i % columns; }
};

template <class T>
__global__ void __launch_bounds__(kThreads) convert_numbers(const __grid_constant__ Conversion all) {
  for_each(all.from.count, [&](int64_t i) {
    static_cast<T*>(all.to)[all.target(i)] = number_at<T>(all.from.data, all.from.type, all.from.place(i));
  });
}

cudaLaunchConfig_t config_for(int64_t count, int64_t most_blocks, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(std::clamp((count + kThreads - 1) / kThreads, int64_t{1}, most_blocks)));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  return config;
}

// ---- Checks ---------------------------------------------------------------------------------------------------------

/// What a thread has seen.
struct Seen {
  double lowest, highest, smallest;
  int whole, finite;
};

__device__ inline bool is_whole(double x) {
  constexpr double kAllWhole = 4503599627370496.0;  // from 2^52 on, doubles have no fractions
  const double size = x < 0.0 ? -x : x;
  return size >= kAllWhole || static_cast<double>(static_cast<int64_t>(size)) == size;
}

__device__ inline void see(Seen& seen, double x) {
  const auto as_float = static_cast<float>(x);
  if (!(as_float - as_float == 0.0f)) {
    seen.finite = 0;
    return;
  }
  const double size = x < 0.0 ? -x : x;
  seen.lowest = x < seen.lowest ? x : seen.lowest;
  seen.highest = x > seen.highest ? x : seen.highest;
  seen.smallest = size < seen.smallest ? size : seen.smallest;
  if (!is_whole(x)) seen.whole = 0;
}

__device__ inline void join(Seen& seen, const Seen& other) {
  seen.lowest = other.lowest < seen.lowest ? other.lowest : seen.lowest;
  seen.highest = other.highest > seen.highest ? other.highest : seen.highest;
  seen.smallest = other.smallest < seen.smallest ? other.smallest : seen.smallest;
  seen.whole &= other.whole;
  seen.finite &= other.finite;
}

struct Summary {
  Numbers numbers;
  double ignored;
  bool ignores;
  Seen* of_blocks;  // (blocks,)
};

__global__ void __launch_bounds__(kThreads) summarize_numbers(const __grid_constant__ Summary all) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Seen seen{kInfinity, -kInfinity, kInfinity, 1, 1};
  for_each(all.numbers.count, [&](int64_t i) {
    const auto x = number_at<double>(all.numbers.data, all.numbers.type, all.numbers.place(i));
    if (!all.ignores || x != all.ignored) see(seen, x);
  });
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    Seen other;
    other.lowest = __shfl_xor_sync(0xffffffffu, seen.lowest, distance);
    other.highest = __shfl_xor_sync(0xffffffffu, seen.highest, distance);
    other.smallest = __shfl_xor_sync(0xffffffffu, seen.smallest, distance);
    other.whole = __shfl_xor_sync(0xffffffffu, seen.whole, distance);
    other.finite = __shfl_xor_sync(0xffffffffu, seen.finite, distance);
    join(seen, other);
  }
  auto* const of_warps = reinterpret_cast<Seen*>(shared_memory());
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = seen;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kThreads / kWarp; ++warp) join(seen, of_warps[warp]);
  all.of_blocks[blockIdx.x] = seen;
}

// ---- The interface --------------------------------------------------------------------------------------------------

class TensorsOnCard final : public TensorDevice {
 public:
  explicit TensorsOnCard(int index) : index_(index) {
    int multiprocessors = 0;
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index), "asking for its size");
    most_blocks_ = multiprocessors * 8;
  }

  uintptr_t stream() const override {
    const DeviceGuard device_guard(index_);
    return reinterpret_cast<uintptr_t>(copy_stream().get());
  }
  void wait_for(std::optional<uintptr_t> stream) const override;
  bool holds(const void* first, const void* last) const override;
  std::shared_ptr<void> allocate(int64_t bytes) const override;
  void copy_bytes(void* to, const void* from, int64_t bytes) const override {
    const DeviceGuard device_guard(index_);
    copy_stream().copy(to, from, bytes);
    copy_stream().wait();
  }
  void convert(const TensorView& from, const std::vector<int32_t>* rows, NumberType type, void* to, int64_t columns,
               int64_t to_stride) const override;
  NumberSummary summarize(const TensorView& array, std::optional<double> ignored) const override;

 private:
  const int index_;
  int64_t most_blocks_;
};

void TensorsOnCard::wait_for(std::optional<uintptr_t> stream) const {
  const DeviceGuard device_guard(index_);
  const cudaError_t status = stream ? cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(*stream)) : wait_for_card();
  check(status, "waiting for the work of another library");
}

std::shared_ptr<void> TensorsOnCard::allocate(int64_t bytes) const {
  const DeviceGuard device_guard(index_);
  const std::shared_ptr<void> memory = cuda::allocate(bytes);
  return {memory.get(), [memory, index = index_](void*) { release_on(index, [] { wait_for_card(); }); }};
}

bool TensorsOnCard::holds(const void* first, const void* last) const {
  const DeviceGuard device_guard(index_);
  for (const void* const byte : {first, last}) {
    cudaPointerAttributes attributes = {};
    if (cudaPointerGetAttributes(&attributes, byte) != cudaSuccess) {
      cudaGetLastError();
      return false;
    }
    if (attributes.type == cudaMemoryTypeManaged) continue;  // which all GPUs can read
    if (attributes.type != cudaMemoryTypeDevice || attributes.device != index_) return false;
  }
  return true;
}

void TensorsOnCard::convert(const TensorView& from, const std::vector<int32_t>* rows, NumberType type, void* to,
                            int64_t columns, int64_t to_stride) const {
  Conversion all{numbers_of(from), to, std::max(columns, int64_t{1}), to_stride};
  if (rows) all.from.count = static_cast<int64_t>(rows->size()) * all.from.of_row;
  if (all.from.count == 0) return;
  const DeviceGuard device_guard(index_);
  const Stream& stream = copy_stream();
  std::shared_ptr<const int32_t> rows_on_card;
  if (rows) {
    rows_on_card = copy_to_card(*rows);
    all.from.rows = rows_on_card.get();
  }
  const cudaLaunchConfig_t config = config_for(all.from.count, most_blocks_, stream.get());
  const auto start = [&](auto kernel) { check(cudaLaunchKernelEx(&config, kernel, all), "converting numbers"); };
  switch (type) {
    case NumberType::kUint8:
      start(convert_numbers<uint8_t>);
      break;
    case NumberType::kUint16:
      start(convert_numbers<uint16_t>);
      break;
    case NumberType::kInt32:
      start(convert_numbers<int32_t>);
      break;
    case NumberType::kUint64:
      start(convert_numbers<uint64_t>);
      break;
    case NumberType::kFloat32:
      start(convert_numbers<float>);
      break;
    default:
      throw std::invalid_argument("a GPU converts numbers to uint8, uint16, int32, uint64 and float32 alone");
  }
  stream.wait();
}

NumberSummary TensorsOnCard::summarize(const TensorView& array, std::optional<double> ignored) const {
  const DeviceGuard device_guard(index_);
  const Stream& stream = copy_stream();
  Summary all{numbers_of(array), ignored.value_or(0.0), ignored.has_value(), nullptr};
  cudaLaunchConfig_t config = config_for(all.numbers.count, most_blocks_, stream.get());
  config.dynamicSmemBytes = kThreads / kWarp * sizeof(Seen);
  std::vector<Seen> of_blocks(config.gridDim.x);
  const auto bytes = static_cast<int64_t>(of_blocks.size() * sizeof(Seen));
  const std::shared_ptr<void> on_card = cuda::allocate(bytes);
  all.of_blocks = static_cast<Seen*>(on_card.get());
  check(cudaLaunchKernelEx(&config, summarize_numbers, all), "checking numbers");
  stream.copy(of_blocks.data(), on_card.get(), bytes);
  stream.wait();
  Seen seen = of_blocks[0];
  for (const Seen& each : of_blocks) {
    seen.lowest = std::min(seen.lowest, each.lowest);
    seen.highest = std::max(seen.highest, each.highest);
    seen.smallest = std::min(seen.smallest, each.smallest);
    seen.whole &= each.whole;
    seen.finite &= each.finite;
  }
  return {seen.lowest, seen.highest, seen.smallest, seen.whole != 0, seen.finite != 0};
}

}  // namespace
}  // namespace cuda

bool cuda_is_built() { return true; }

std::optional<int> cuda_device_of(const void* address) {
  cudaPointerAttributes attributes = {};
  if (cudaPointerGetAttributes(&attributes, address) != cudaSuccess) {
    cudaGetLastError();
    return std::nullopt;
  }
  const bool is_memory = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
  return is_memory ? std::optional(attributes.device) : std::nullopt;
}

const TensorDevice* cuda_tensors(int index) {
  static std::mutex mutex;
  static auto& devices = *new std::vector<std::unique_ptr<cuda::TensorsOnCard>>;
  const std::lock_guard<std::mutex> lock(mutex);
  if (index >= static_cast<int>(devices.size())) devices.resize(static_cast<size_t>(index) + 1);
  auto& device = devices[static_cast<size_t>(index)];
  if (!device) device = std::make_unique<cuda::TensorsOnCard>(index);
  return device.get();
}

}  // namespace engine
