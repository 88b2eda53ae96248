// Sums, products and extremes along axes of arrays.
#include <algorithm>

#include "cuda/arrays.h"
#include "graph/operations/reduction.h"

namespace engine::cuda {
namespace {

using Kind = graph::Reduce::Kind;

/// Whether each axis of x is reduced.
struct ReducedAxes {
  bool reduces[kMostAxes] = {};
};

ReducedAxes reduced_axes(const std::vector<int>& axes) {
  ReducedAxes all;
  for (const int axis : axes) all.reduces[axis] = true;
  return all;
}

/// The axes of x that are reduced, and those that are kept.
struct DividedAxes {
  Strided kept, reduced;
  __device__ DividedAxes(const Array& x, const ReducedAxes& axes, const Batch& batch) {
    const Strided all = strided(x, batch);
    kept.data = reduced.data = all.data;
    for (int i = 0; i < all.axes; ++i) (axes.reduces[i] ? reduced : kept).append(all.length[i], all.stride[i]);
  }
};

__device__ float neutral(Kind kind) {
  switch (kind) {
    case Kind::kMaximum:
      return -formulas::kInfinity;
    case Kind::kMinimum:
      return formulas::kInfinity;
    case Kind::kProduct:
      return 1.0f;
    default:
      return 0.0f;
  }
}

/// A NaN among the numbers of an extreme gives a NaN.
__device__ float combine(Kind kind, float a, float b) {
  switch (kind) {
    case Kind::kMaximum:
      return a != a || a >= b ? a : b;
    case Kind::kMinimum:
      return a != a || a <= b ? a : b;
    case Kind::kProduct:
      return a * b;
    default:
      return a + b;
  }
}

/// Who reduces the numbers of one result: a thread, a warp or a block. The order depends on that choice alone, which
/// the shapes make.
enum class Team { kThread, kWarp, kBlock };

struct Reduce {
  Array x;
  float* y;
  ReducedAxes axes;
  Kind kind;
  Team team;
  int64_t most_results;

  int64_t blocks() const {
    const int64_t threads = team == Team::kThread ? 1 : team == Team::kWarp ? kWarp : kThreads;
    return (most_results * threads + kThreads - 1) / kThreads;
  }
  int64_t shared_bytes() const { return kThreads * static_cast<int64_t>(sizeof(float)); }

  __device__ float along(const DividedAxes& all, int64_t result, int64_t first, int64_t step) const {
    const float* const own = x.data + all.kept.offset(result);
    const int64_t count = all.reduced.numbers();
    float total = neutral(kind);
    for (int64_t i = first; i < count; i += step) total = combine(kind, total, own[all.reduced.offset(i)]);
    return total;
  }

  __device__ void run(const Batch& batch) const {
    const DividedAxes all(x, axes, batch);
    const int64_t results = all.kept.numbers();
    if (team == Team::kThread) {
      for_each(results, [&](int64_t i) { y[i] = along(all, i, 0, 1); });
    } else if (team == Team::kWarp) {
      for_each_by_warp(results, [&](int64_t i) {
        float total = along(all, i, threadIdx.x % kWarp, kWarp);
        for (int distance = kWarp / 2; distance > 0; distance /= 2) {
          total = combine(kind, total, __shfl_xor_sync(0xffffffffu, total, distance));
        }
        if (threadIdx.x % kWarp == 0) y[i] = total;
      });
    } else {
      float* const totals = shared_memory();
      for (int64_t i = blockIdx.x; i < results; i += gridDim.x) {
        totals[threadIdx.x] = along(all, i, threadIdx.x, kThreads);
        __syncthreads();
        for (int half = kThreads / 2; half > 0; half /= 2) {
          if (static_cast<int>(threadIdx.x) < half)
            totals[threadIdx.x] = combine(kind, totals[threadIdx.x], totals[threadIdx.x + half]);
          __syncthreads();
        }
        if (threadIdx.x == 0) y[i] = totals[0];
        __syncthreads();
      }
    }
  }
};

/// Threads that lie side by side read numbers that lie side by side: along the last axis, whether it is kept or
/// reduced.
Team team_of(const graph::Reduce& op, int64_t numbers, int64_t results, int64_t multiprocessors) {
  constexpr int64_t kLong = 4096;  // numbers of a result from which on a warp alone takes long
  const int64_t of_result = numbers / std::max<int64_t>(results, 1);
  if (of_result >= kLong && results < multiprocessors * kThreads) return Team::kBlock;
  const bool keeps_last = !op.x.shape.empty() && !op.reduces(static_cast<int>(op.x.shape.size()) - 1);
  return keeps_last || of_result < kWarp / 4 ? Team::kThread : Team::kWarp;
}

/// y = the first index of the extreme along the axes. A NaN counts as the extreme.
struct FindExtreme {
  Array x;
  float* y;
  ReducedAxes axes;
  bool smallest;
  __device__ void operator()(const Batch& batch) const {
    const DividedAxes all(x, axes, batch);
    const int64_t count = all.reduced.numbers();
    for_each(all.kept.numbers(), [&](int64_t i) {
      const float* const own = x.data + all.kept.offset(i);
      int64_t at = 0;
      float most = 0.0f;
      for (int64_t j = 0; j < count; ++j) {
        const float number = smallest ? -own[all.reduced.offset(j)] : own[all.reduced.offset(j)];
        if (j > 0 && !(number > most || (number != number && most == most))) continue;
        most = number;
        at = j;
      }
      y[i] = static_cast<float>(at);
    });
  }
};

void schedule_reduce(Schedule& schedule, const graph::Reduce& op) {
  if (op.kind == Kind::kArgMaximum || op.kind == Kind::kArgMinimum) {
    schedule.add(op, [&op](const RunMemory& memory) {
      return for_array(memory, op.y,
                       FindExtreme{array_of(memory, op.x), memory.scratch(op.y.value), reduced_axes(op.axes),
                                   op.kind == Kind::kArgMinimum});
    });
    return;
  }
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t results = most_numbers(memory, op.y);
    const Team team = team_of(op, most_numbers(memory, op.x), results, memory.schedule.multiprocessors());
    return Reduce{array_of(memory, op.x), memory.scratch(op.y.value), reduced_axes(op.axes), op.kind, team, results};
  });
}

// ---- Gradient of a product ------------------------------------------------------------------------------------------

/// A thread has all numbers of one product. dx first gets the product of all numbers before; then it is multiplied by
/// that of those behind, or by the derivative of that product in a direction. `reversed` swaps before and behind.
struct ProductGradient {
  Array x, dx;
  const float *dy, *direction;  // no direction: null
  ReducedAxes axes;
  bool reversed;
  __device__ void operator()(const Batch& batch) const {
    const DividedAxes all(x, axes, batch);
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
        const int64_t own = at(j);
        const float factor = x.data[own];
        dx.data[own] = dx.data[own] * (direction ? derivative : product) * dy[i];
        if (direction) derivative = derivative * factor + product * direction[own];
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
  int64_t most_sums;

  int64_t blocks() const { return (most_sums + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const DividedAxes all(x, axes, batch);
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
                         most_numbers(memory, op.x) / std::max<int64_t>(length, 1)};
  });
}

}  // namespace

void add_reductions(Implementations& all) {
  all.add<graph::Reduce>(schedule_reduce);
  all.add<graph::ProductGradient>(schedule_product_gradient);
  all.add<graph::CumulativeSum>(schedule_cumulative_sum);
}

}  // namespace engine::cuda
