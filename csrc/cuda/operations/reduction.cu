// Sums, products and extremes along axes of arrays.
#include <algorithm>

#include "cuda/arrays.h"
#include "cuda/warp_rows.h"
#include "formulas/reductions.h"
#include "graph/operations/reduction.h"

namespace engine::cuda {
namespace {

/// Whether each axis of x is reduced.
struct ReducedAxes {
  bool reduces[kMaxGpuAxes] = {};
};

ReducedAxes reduced_axes(const std::vector<int>& axes) {
  ReducedAxes all;
  for (const int axis : axes) all.reduces[axis] = true;
  return all;
}

/// The axes of x that are reduced, and those that are kept.
struct DividedAxes {
  Strided kept, reduced;
};

/// They lie in shared memory. All threads of the block must call it.
__device__ const DividedAxes& divided_axes(const Array& x, const ReducedAxes& axes, const Batch& batch) {
  return once_in_block<DividedAxes>(0, [&](DividedAxes& to) {
    to.kept.begin(x.data);
    to.reduced.begin(x.data);
    for (int i = 0; i < x.axes; ++i) {
      (axes.reduces[i] ? to.reduced : to.kept).append(x.lengths[i].at(batch), x.stride(batch, i));
    }
  });
}

/// The numbers of the lanes of a warp combined, in pairs: every lane gets the same bits.
__device__ float combined_in_warp(Reduction kind, float x) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    x = formulas::combine(kind, x, __shfl_xor_sync(0xffffffffu, x, distance));
  }
  return x;
}

/// How threads share a reduction, as the shapes alone decide: a thread or a warp has a result, or a slice of the
/// numbers of one, if these are many. Threads that lie side by side read numbers that lie side by side.
struct Sharing {
  bool by_warp;
  int64_t slice;  // numbers that it reduces

  ENGINE_DEVICE int64_t slices(int64_t numbers) const { return numbers <= slice ? 1 : (numbers + slice - 1) / slice; }
};

/// Numbers of a result in the largest batch.
int64_t numbers_of_result(const graph::Reduce& op, int64_t max_rows) {
  int64_t numbers = 1;
  for (const int axis : op.axes) numbers *= op.x.shape[static_cast<size_t>(axis)].at(max_rows);
  return numbers;
}

/// Whether neighbours in memory belong to different results.
bool keeps_last_axis(const graph::Reduce& op) {
  auto axis = static_cast<int>(op.x.shape.size()) - 1;
  while (axis > 0 && op.x.shape[static_cast<size_t>(axis)] == graph::Extent{1, 0}) --axis;
  return axis >= 0 && !op.reduces(axis);
}

Sharing sharing_of(const graph::Reduce& op, int64_t max_rows) {
  constexpr int64_t kFew = 8;  // numbers of which most lanes of a warp would have none
  constexpr int64_t kSliceOfThread = 128, kSliceOfWarp = 1024;
  if (keeps_last_axis(op) || numbers_of_result(op, max_rows) < kFew) return {false, kSliceOfThread};
  return {true, kSliceOfWarp};
}

/// How many results there are in a batch, and how many numbers each is made of.
struct ReductionSize {
  int64_t results = 1, numbers = 1;
  __device__ ReductionSize(const Array& x, const ReducedAxes& axes, const Batch& batch) {
    for (int i = 0; i < x.axes; ++i) (axes.reduces[i] ? numbers : results) *= x.lengths[i].at(batch);
  }
};

/// y[slice, result], or y[result] if there is one slice
struct Reduce {
  Array x;
  float* y;
  ReducedAxes axes;
  Reduction kind;
  Sharing sharing;
  int64_t max_results, max_slices;

  int64_t blocks() const {
    const int64_t results = max_results * max_slices;
    return sharing.by_warp ? blocks_for_warps(results) : (results + kThreads - 1) / kThreads;
  }
  int64_t shared_bytes() const { return sizeof(DividedAxes); }

  __device__ void run(const Batch& batch) const {
    const ReductionSize size(x, axes, batch);
    const DividedAxes& all = divided_axes(x, axes, batch);
    const int64_t slices = max_slices == 1 ? 1 : sharing.slices(size.numbers);
    const auto along = [&](int64_t i, int64_t lane, int64_t step) {
      const float* const numbers = x.data + all.kept.offset(i % size.results);
      const int64_t begin = i / size.results * sharing.slice;
      const int64_t end = slices > 1 && begin + sharing.slice < size.numbers ? begin + sharing.slice : size.numbers;
      float total = formulas::neutral(kind);
      for (int64_t n = begin + lane; n < end; n += step) {
        total = formulas::combine(kind, total, numbers[all.reduced.offset(n)]);
      }
      return total;
    };
    if (!sharing.by_warp) {
      for_each(size.results * slices, [&](int64_t i) { y[i] = along(i, 0, 1); });
      return;
    }
    for_each_by_warp(size.results * slices, [&](int64_t i) {
      const float total = combined_in_warp(kind, along(i, threadIdx.x % kWarp, kWarp));
      if (threadIdx.x % kWarp == 0) y[i] = total;
    });
  }
};

/// y[result] from the slices, by a warp
struct ReduceSlices {
  Array x;
  const float* partial;  // (slices, results)
  float* y;
  ReducedAxes axes;
  Reduction kind;
  Sharing sharing;
  int64_t max_results;

  int64_t blocks() const { return blocks_for_warps(max_results); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const ReductionSize size(x, axes, batch);
    const int64_t slices = sharing.slices(size.numbers);
    for_each_by_warp(size.results, [&](int64_t i) {
      float total = formulas::neutral(kind);
      for (int64_t s = threadIdx.x % kWarp; s < slices; s += kWarp) {
        total = formulas::combine(kind, total, partial[s * size.results + i]);
      }
      total = combined_in_warp(kind, total);
      if (threadIdx.x % kWarp == 0) y[i] = total;
    });
  }
};

/// An index and its number. -1: none.
struct Extreme {
  float number;
  int64_t index;

  /// Whether it counts more than another one: the larger number, then the first. A NaN is larger than all others.
  __device__ bool precedes(const Extreme& other) const {
    if (index < 0 || other.index < 0) return index >= 0;
    const bool is_nan = number != number, other_is_nan = other.number != other.number;
    if (is_nan != other_is_nan) return is_nan;
    return number > other.number || ((is_nan || number == other.number) && index < other.index);
  }
};

/// y = the first index of the extreme along the axes. A NaN counts as the extreme.
struct FindExtreme {
  Array x;
  float* y;
  ReducedAxes axes;
  bool smallest, by_warp;
  int64_t max_results;

  int64_t blocks() const { return by_warp ? blocks_for_warps(max_results) : (max_results + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return sizeof(DividedAxes); }
  __device__ void run(const Batch& batch) const {
    const ReductionSize size(x, axes, batch);
    const DividedAxes& all = divided_axes(x, axes, batch);
    const auto along = [&](int64_t i, int64_t first, int64_t step) {
      const float* const numbers = x.data + all.kept.offset(i);
      Extreme found{0.0f, -1};
      for (int64_t n = first; n < size.numbers; n += step) {
        const float number = numbers[all.reduced.offset(n)];
        const Extreme each{smallest ? -number : number, n};
        if (each.precedes(found)) found = each;
      }
      return found;
    };
    if (!by_warp) {
      for_each(size.results, [&](int64_t i) { store(i, along(i, 0, 1)); });
      return;
    }
    for_each_by_warp(size.results, [&](int64_t i) {
      Extreme found = along(i, threadIdx.x % kWarp, kWarp);
      for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        const Extreme other{__shfl_xor_sync(0xffffffffu, found.number, distance),
                            __shfl_xor_sync(0xffffffffu, found.index, distance)};
        if (other.precedes(found)) found = other;
      }
      if (threadIdx.x % kWarp == 0) store(i, found);
    });
  }
  __device__ void store(int64_t i, const Extreme& found) const {
    y[i] = found.index < 0 ? 0.0f : static_cast<float>(found.index);
  }
};

void schedule_extreme(Schedule& schedule, const graph::Reduce& op) {
  constexpr int64_t kLong = 1024;  // numbers of a result of which one thread alone would take long
  const bool by_warp =
      sharing_of(op, schedule.max_rows()).by_warp || numbers_of_result(op, schedule.max_rows()) >= kLong;
  schedule.add(op, [&op, by_warp](const RunMemory& memory) {
    return FindExtreme{array_of(memory, op.x),
                       memory.scratch(op.y.value),
                       reduced_axes(op.axes),
                       op.kind == Reduction::kArgMinimum,
                       by_warp,
                       max_elements(memory, op.y)};
  });
}

void schedule_reduce(Schedule& schedule, const graph::Reduce& op) {
  if (gives_index(op.kind)) return schedule_extreme(schedule, op);
  const Sharing sharing = sharing_of(op, schedule.max_rows());
  const int64_t slices = sharing.slices(numbers_of_result(op, schedule.max_rows()));
  const int64_t results = graph::element_count(op.y.shape, schedule.max_rows());
  const int64_t partial = slices == 1 ? 0 : schedule.add_scratch(slices * results);
  schedule.add(op, [=, &op](const RunMemory& memory) {
    float* const y = slices == 1 ? memory.scratch(op.y.value) : memory.arguments.scratch + partial;
    return Reduce{array_of(memory, op.x), y, reduced_axes(op.axes), op.kind, sharing, results, slices};
  });
  if (slices == 1) return;
  schedule.add(op, [=, &op](const RunMemory& memory) {
    return ReduceSlices{array_of(memory, op.x),
                        memory.arguments.scratch + partial,
                        memory.scratch(op.y.value),
                        reduced_axes(op.axes),
                        op.kind,
                        sharing,
                        results};
  });
}

// ---- Gradient of a product ------------------------------------------------------------------------------------------

/// A thread has all numbers of one product. dx first gets the product of all numbers before; then it is multiplied by
/// that of those behind, or by the derivative of that product in a direction. `reversed` swaps before and behind.
struct ProductGradient {
  static constexpr int64_t kSharedBytes = sizeof(DividedAxes);

  Array x, dx;
  const float *dy, *direction;  // no direction: null
  ReducedAxes axes;
  bool reversed;
  __device__ void operator()(const Batch& batch) const {
    const DividedAxes& all = divided_axes(x, axes, batch);
    const int64_t count = all.reduced.numbers();
    for_each(all.kept.numbers(), [&](int64_t i) {
      const int64_t first = all.kept.offset(i);
      const auto at = [&](int64_t j) { return first + all.reduced.offset(reversed ? count - 1 - j : j); };
      float product = 1.0f, derivative = 0.0f;
      for (int64_t j = 0; j < count; ++j) {
        dx.data[at(j)] = product;
        product = product * x.data[at(j)];
      }
      product = 1.0f;
      for (int64_t j = count; j-- > 0;) {
        const int64_t element = at(j);
        const float factor = x.data[element];
        dx.data[element] = dx.data[element] * (direction ? derivative : product) * dy[i];
        if (direction) derivative = derivative * factor + product * direction[element];
        product = product * factor;
      }
    });
  }
};

void schedule_product_gradient(Schedule& schedule, const graph::ProductGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const bool along = op.direction.value != kNoValue;
    return for_array(memory, op.dy,
                     ProductGradient{array_of(memory, op.x), array_of(memory, op.dx), memory.scratch(op.dy.value),
                                     memory.scratch(op.direction.value), reduced_axes(op.axes),
                                     along && op.part == graph::ProductGradient::Part::kBefore});
  });
}

// ---- Cumulative sums ------------------------------------------------------------------------------------------------

/// A thread has all numbers along the axis.
struct CumulativeSum {
  Array x;
  float* y;
  ReducedAxes axes;  // the one that is summed along
  bool reverse;
  int64_t max_sums;

  int64_t blocks() const { return (max_sums + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return sizeof(DividedAxes); }
  __device__ void run(const Batch& batch) const {
    const DividedAxes& all = divided_axes(x, axes, batch);
    const int64_t count = all.reduced.numbers();
    for_each(all.kept.numbers(), [&](int64_t i) {
      const int64_t first = all.kept.offset(i);
      float sum = 0.0f;
      for (int64_t j = 0; j < count; ++j) {
        const int64_t at = first + all.reduced.offset(reverse ? count - 1 - j : j);
        sum = sum + x.data[at];
        y[at] = sum;
      }
    });
  }
};

void schedule_cumulative_sum(Schedule& schedule, const graph::CumulativeSum& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t length = op.x.shape[static_cast<size_t>(op.axis)].at(memory.schedule.max_rows());
    return CumulativeSum{array_of(memory, op.x), memory.scratch(op.y.value), reduced_axes({op.axis}), op.reverse,
                         max_elements(memory, op.x) / std::max<int64_t>(length, 1)};
  });
}

}  // namespace

void add_reductions(OperationRegistry& all) {
  all.add<graph::Reduce>(schedule_reduce);
  all.add<graph::ProductGradient>(schedule_product_gradient);
  all.add<graph::CumulativeSum>(schedule_cumulative_sum);
}

}  // namespace engine::cuda
