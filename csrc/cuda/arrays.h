// Arrays of any shape on the card. Their numbers lie side by side, the last axis varying fastest.
#pragma once
#include <stdexcept>
#include <string>

#include "cuda/kernel.h"
#include "cuda/schedule.h"
#include "graph/array.h"

namespace engine::cuda {

/// The most axes of an array here: kernels get the lengths of all as arguments.
inline constexpr int kMaxGpuAxes = 16;

/// The length of an axis, which may depend on the number of samples.
struct Length {
  int64_t fixed, per_sample;
  __device__ int64_t at(const Batch& batch) const {
    const int64_t length = fixed + per_sample * batch.rows;
    return length > 0 ? length : 0;
  }
};

struct Array {
  float* data = nullptr;
  int axes = 0;
  Length lengths[kMaxGpuAxes] = {};

  /// How many numbers lie between two neighbours along an axis.
  __device__ int64_t stride(const Batch& batch, int axis) const { return numbers(batch, axis + 1, axes); }
  /// Numbers in the axes from `first` to before `end`.
  __device__ int64_t numbers(const Batch& batch, int first, int end) const {
    int64_t all = 1;
    for (int i = first; i < end; ++i) all *= lengths[i].at(batch);
    return all;
  }
  __device__ int64_t numbers(const Batch& batch) const { return numbers(batch, 0, axes); }
};

/// Throws std::invalid_argument for a shape with too many axes.
inline void require_few_axes(const graph::Shape& shape) {
  if (shape.size() <= kMaxGpuAxes) return;
  throw std::invalid_argument("a GPU works on arrays of at most " + std::to_string(kMaxGpuAxes) + " axes, not of " +
                              std::to_string(shape.size()) +
                              ": reshape it, or use the CPU, after engine.config.set_device('cpu')");
}

/// The lengths of an array. Throws std::invalid_argument if it has too many axes.
inline Array with_lengths(float* data, const graph::Shape& shape) {
  require_few_axes(shape);
  Array array;
  array.data = data;
  for (const graph::Extent& extent : shape) array.lengths[array.axes++] = {extent.fixed, extent.per_sample};
  return array;
}

inline Array array_of(const RunMemory& memory, const graph::Array& array) {
  return with_lengths(memory.scratch(array.value), array.shape);
}

/// Some axes of an array in a batch: element (i, j, ...) is at data[i * stride[0] + j * stride[1] + ...].
struct Strided {
  float* data = nullptr;
  int axes = 0;
  int64_t length[kMaxGpuAxes], stride[kMaxGpuAxes];

  __device__ void begin(float* numbers) {
    data = numbers;
    axes = 0;
  }
  /// Appends an axis, or makes it a part of the last one where a single stride walks through both: fewer axes mean
  /// fewer divisions.
  __device__ void append(int64_t l, int64_t s) {
    if (l == 1) return;
    if (axes > 0 && stride[axes - 1] == l * s) {
      length[axes - 1] *= l;
      stride[axes - 1] = s;
      return;
    }
    length[axes] = l;
    stride[axes++] = s;
  }
  __device__ int64_t numbers() const {
    int64_t all = 1;
    for (int i = 0; i < axes; ++i) all *= length[i];
    return all;
  }
  /// Where element number `i` lies, counted with the last axis varying fastest.
  __device__ int64_t offset(int64_t i) const {
    int64_t at = 0;
    for (int k = axes; k-- > 1;) {
      at += i % length[k] * stride[k];
      i /= length[k];
    }
    return axes > 0 ? at + i * stride[0] : 0;
  }
};

/// A kernel body that calls f(batch) in all threads of as many blocks as have a thread for each of `max_count`
/// elements, which share F::kSharedBytes.
template <class F>
struct ArrayStep {
  int64_t max_count;
  F f;

  int64_t blocks() const { return (max_count + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return F::kSharedBytes; }
  __device__ void run(const Batch& batch) const { f(batch); }
};

/// The elements of an array in the largest batch.
inline int64_t max_elements(const RunMemory& memory, const graph::Array& array) {
  return graph::element_count(array.shape, memory.schedule.max_rows());
}

/// A kernel body in which each element of `y` has a thread.
template <class F>
ArrayStep<F> for_array(const RunMemory& memory, const graph::Array& y, F f) {
  return {max_elements(memory, y), f};
}

/// Calls f(i, batch) for each element i of an array.
template <class F>
struct ArrayElements {
  Array array;
  int64_t max_count;
  F f;

  int64_t blocks() const { return (max_count + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    for_each(array.numbers(batch), [&](int64_t i) { f(i, batch); });
  }
};

/// A kernel body with a thread for each element of an array, for which f(i, batch) is called.
template <class F>
ArrayElements<F> for_array_elements(const RunMemory& memory, const graph::Array& array, F f) {
  return {array_of(memory, array), max_elements(memory, array), f};
}

}  // namespace engine::cuda
