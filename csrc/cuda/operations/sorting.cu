// Sorting along the last axis of arrays.
#include <algorithm>

#include "cuda/arrays.h"
#include "formulas/sorting.h"
#include "graph/operations/sorting.h"

namespace engine::cuda {
namespace {

/// A bitonic sort in which the smaller of two always goes to the front (Knuth, The Art of Computer Programming
/// 3, 5.3.4, exercise 55): so rows of any length are sorted as if the largest keys followed, up to a power of two.
template <class Before>
__device__ void sort_row(float* row, int64_t n, Before&& is_before) {
  const auto compare = [&](int64_t i, int64_t other) {
    if (other <= i || other >= n || !is_before(row[other], row[i])) return;
    const float larger = row[i];
    row[i] = row[other];
    row[other] = larger;
  };
  for (int64_t sorted = 2; sorted < 2 * n; sorted *= 2) {
    for (int64_t i = threadIdx.x; i < n; i += kThreads) compare(i, i ^ (sorted - 1));
    __syncthreads();
    for (int64_t distance = sorted / 4; distance > 0; distance /= 2) {
      for (int64_t i = threadIdx.x; i < n; i += kThreads) compare(i, i ^ distance);
      __syncthreads();
    }
  }
}

/// A block sorts a row.
struct Sort {
  Array x;
  float* y;
  bool gives_places;
  int64_t max_rows;

  int64_t blocks() const { return max_rows; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const int64_t n = x.lengths[x.axes - 1].at(batch), rows = x.numbers(batch, 0, x.axes - 1);
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
      const float* const from = x.data + r * n;
      if (gives_places) {
        sort_places(from, n, y + r * n);
      } else {
        sort_numbers(from, n, y + r * n);
      }
    }
  }

  __device__ static void sort_numbers(const float* from, int64_t n, float* to) {
    for (int64_t j = threadIdx.x; j < n; j += kThreads)
      to[j] = formulas::number_of_key<float>(formulas::sorting_key(from[j]));
    __syncthreads();
    sort_row(to, n, [](float a, float b) { return formulas::sorting_key(a) < formulas::sorting_key(b); });
  }

  __device__ static void sort_places(const float* from, int64_t n, float* places) {
    for (int64_t j = threadIdx.x; j < n; j += kThreads) places[j] = static_cast<float>(j);
    __syncthreads();
    sort_row(places, n, [&](float a, float b) {
      const int32_t key_a = formulas::key_of_place(from[static_cast<int64_t>(a)]);
      const int32_t key_b = formulas::key_of_place(from[static_cast<int64_t>(b)]);
      return key_a < key_b || (key_a == key_b && a < b);
    });
  }
};

void schedule_sort(Schedule& schedule, const graph::Sort& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t length = op.x.shape.back().at(memory.schedule.max_rows());
    return Sort{array_of(memory, op.x), memory.scratch(op.y.value), op.gives_places,
                max_elements(memory, op.x) / std::max<int64_t>(length, 1)};
  });
}

}  // namespace

void add_sorting(OperationRegistry& all) { all.add<graph::Sort>(schedule_sort); }

}  // namespace engine::cuda
