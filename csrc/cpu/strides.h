// Where the elements of arrays lie in a batch, loops over them, and copies.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cpu/scheduler.h"
#include "cpu/thread_context.h"
#include "graph/array.h"

namespace engine {

/// The most axes of arrays, and a few more. Steps allocate nothing, so that there has to be a limit.
inline constexpr int kMostAxes = graph::kMostAxes + 4;

/// The elements of an array: element (i, j, ...) is at data[i * stride[0] + j * stride[1] + ...]. There is at least one
/// axis.
struct Strided {
  float* data = nullptr;
  int axes = 0;
  int64_t length[kMostAxes], stride[kMostAxes];

  void append(int64_t l, int64_t s) {
    length[axes] = l;
    stride[axes++] = s;
  }
  int last() const { return axes - 1; }
  bool is_empty() const {
    return std::any_of(length, length + axes, [](int64_t l) { return l == 0; });
  }
  int64_t numbers(int first = 0) const {
    int64_t all = 1;
    for (int i = first; i < axes; ++i) all *= length[i];
    return all;
  }
  /// Leaves `range` of an axis.
  void restrict_to(int axis, Range range) {
    length[axis] = std::max<int64_t>(range.end - range.begin, 0);
    data += range.begin * stride[axis];
  }
  void erase(int axis) {
    std::copy(length + axis + 1, length + axes, length + axis);
    std::copy(stride + axis + 1, stride + axes, stride + axis);
    --axes;
  }
};

inline int64_t length_of(const graph::Extent& extent, const ThreadContext& thread) {
  return std::max<int64_t>(extent.at(thread.batch.rows), 0);
}

/// The elements of an array in this batch. An array without axes gets one of length 1.
Strided strided(const graph::Array& array, const ThreadContext& thread);

/// Axes that are one for each of several arrays, as the distance from the last element along the inner axis to the
/// next one along the outer axis is a stride of the inner axis, are merged. Axes of length 1 disappear, but for one.
/// All arrays have the same lengths.
void merge_axes(Strided* const* arrays, int count);
inline void merge_axes(Strided& a, Strided& b) {
  Strided* const both[] = {&a, &b};
  merge_axes(both, 2);
}
inline void merge_axes(Strided& a) {
  Strided* const one[] = {&a};
  merge_axes(one, 1);
}

/// Walks through the first axes of several arrays in row-major order, and tells where their elements are.
template <int N>
class Walk {
 public:
  /// Of the first `axes` axes, whose lengths are those of the first array.
  Walk(const Strided* const (&arrays)[N], int axes) : axes_(axes) {
    for (int n = 0; n < N; ++n) arrays_[n] = arrays[n];
    std::fill_n(index_, axes, 0);
    done_ = std::any_of(arrays[0]->length, arrays[0]->length + axes, [](int64_t l) { return l == 0; });
  }
  bool done() const { return done_; }
  float* data(int n) const { return arrays_[n]->data + offset_[n]; }
  void next() {
    for (int k = axes_; k-- > 0;) {
      for (int n = 0; n < N; ++n) offset_[n] += arrays_[n]->stride[k];
      if (++index_[k] < arrays_[0]->length[k]) return;
      for (int n = 0; n < N; ++n) offset_[n] -= index_[k] * arrays_[n]->stride[k];
      index_[k] = 0;
    }
    done_ = true;
  }

 private:
  const Strided* arrays_[N];
  int axes_;
  int64_t index_[kMostAxes];
  int64_t offset_[N] = {};
  bool done_;
};

/// to = from, element by element; both have the same lengths.
void copy_elements(const KernelTable& kernels, const Strided& from, const Strided& to);
void fill_elements(const Strided& to, float number);

// ---- How threads divide operations on arrays --------------------------------------------------------------------

/// The loop over the first axis of an output of which threads may not share the rows of all operands. They wait for
/// each other before and after it.
inline constexpr Loop kAnyRows = 'w';

/// How threads divide an operation that writes `y`, if the loop over the first axis of y is `rows`.
Split split_array(const Scheduler& scheduler, const graph::Operation& operation, const graph::Array& y, Loop rows);

/// This thread's part of the first axis of y, for a step with that split.
Range own_rows(const ThreadContext& thread, const graph::Array& y, Loop rows);

}  // namespace engine
