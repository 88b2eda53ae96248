// Where the elements of arrays lie in memory, loops over them, and copies.
#pragma once
#include <algorithm>
#include <cstdint>

#include "cpu/scheduler.h"
#include "cpu/thread_context.h"
#include "graph/array.h"
#include "graph/operations/arrangement.h"

namespace engine::cpu {

/// Axes of arrays, and a few of length 1 that steps add. A limit, since steps allocate nothing.
inline constexpr int kMaxAxes = graph::kMaxAxes + 4;

/// The elements of an array: element (i, j, ...) is at data[i * stride[0] + j * stride[1] + ...]. There is at least one
/// axis.
struct Strided {
  float* data = nullptr;
  int axes = 0;
  int64_t length[kMaxAxes], stride[kMaxAxes];

  void append(int64_t l, int64_t s) {
    length[axes] = l;
    stride[axes++] = s;
  }
  int last() const { return axes - 1; }  // the number of the innermost axis
  bool is_empty() const {
    return std::any_of(length, length + axes, [](int64_t l) { return l == 0; });
  }
  /// Elements in axis `first` and those behind it.
  int64_t numbers(int first = 0) const {
    int64_t all = 1;
    for (int i = first; i < axes; ++i) all *= length[i];
    return all;
  }
  /// Keeps only the indices in `range` of an axis.
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

/// Sets the strides of elements that lie side by side in row-major order, from the last axis to axis `first`.
void set_contiguous(Strided& array, int first = 0);

/// The elements of an array in this batch. An array without axes gets one of length 1.
Strided strided(const graph::Array& array, const ThreadContext& thread);

/// Removes axes of length 1, and merges neighbouring axes into one wherever a single stride walks through both, in each
/// of several arrays of equal lengths. Fewer axes mean longer inner loops. At least one axis is left.
void merge_axes(Strided* const* arrays, int count);
inline void merge_axes(Strided& a, Strided& b) {
  Strided* const both[] = {&a, &b};
  merge_axes(both, 2);
}
inline void merge_axes(Strided& a) {
  Strided* const one[] = {&a};
  merge_axes(one, 1);
}

/// Visits all indices of the first axes of N arrays in row-major order, as nested loops would. data(n) is where array n
/// has the present index.
template <int N>
class Walk {
 public:
  /// Loops over the first `axes` axes, whose lengths are those of the first array.
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
  int64_t index_[kMaxAxes];
  int64_t offset_[N] = {};
  bool done_;
};

/// The elements of an array that a slice of the lengths of `like` selects.
Strided selected(Strided from, const graph::Selection& selection, const Strided& like, const ThreadContext& thread);

/// The numbers i in [0, count) for which begin + i step is in `range`.
Range indices_in(Range range, int64_t begin, int64_t step, int64_t count);

/// n floats from `from`, `step` apart, to places side by side: with a step of 0, copies of one number.
void copy_strided(const KernelTable& kernels, const float* from, int64_t step, float* to, int64_t n);

/// to = from, element by element; both have the same lengths.
void copy_elements(const KernelTable& kernels, const Strided& from, const Strided& to);
void fill_elements(const KernelTable& kernels, const Strided& to, float number);

// ---- How threads divide operations on arrays --------------------------------------------------------------------

/// The loop over the first axis of an output, where row i may need any row of the operands. No operand has this letter,
/// so that threads wait for each other before and after the step.
inline constexpr Loop kAnyRows = 'w';

/// How threads divide an operation that writes `y`. `rows` is its loop over the first axis of y; kWhole if threads need
/// all of its operands.
Split split_array(const Scheduler& scheduler, const graph::Operation& operation, const graph::Array& y, Loop rows);

/// This thread's part of the first axis of y, for a step with the split that `split_array` has chosen.
Range own_rows(const ThreadContext& thread, const graph::Array& y, Loop rows);

}  // namespace engine::cpu
