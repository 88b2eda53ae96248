// Steps that compute each element of their result by itself.
#pragma once
#include <utility>

#include "cuda/kernel.h"
#include "cuda/schedule.h"

namespace engine::cuda {

/// Calls f(i, batch) for each element i of a result that has `of_sample` elements for each sample of the batch, and
/// `fixed` besides.
template <class F>
struct Elements {
  int64_t fixed, of_sample, max_rows;
  F f;

  int64_t blocks() const { return (fixed + of_sample * max_rows + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    for_each(fixed + of_sample * batch.rows, [&](int64_t i) { f(i, batch); });
  }
};

/// A kernel body with a thread for each element of `value`, for which f(i, batch) is called.
template <class F>
Elements<F> for_elements(const Schedule& schedule, ValueId value, F f) {
  const Placement& place = schedule.placement(value);
  const int64_t of_sample = place.groups * place.columns;
  return {place.groups == 0 ? place.rows * place.columns : 0, of_sample, schedule.max_rows(), f};
}

/// A kernel body with a thread for each of `count` numbers, for which f(i, batch) is called.
template <class F>
Elements<F> for_count(int64_t count, F f) {
  return {count, 0, 0, f};
}

/// A kernel body with a thread for each of `of_sample` numbers of each sample, for which f(i, batch) is called.
template <class F>
Elements<F> for_samples(const Schedule& schedule, int64_t of_sample, F f) {
  return {0, of_sample, schedule.max_rows(), f};
}

/// A kernel body with a thread for each weight of a variable, for which f(i, batch) is called.
template <class F>
Elements<F> for_weights(const RunMemory& memory, ValueId variable, F f) {
  const Variable& v = memory.schedule.variable(variable);
  return for_count(v.rows * v.columns, f);
}

/// to = from
struct CopyNumbers {
  const float* from;
  float* to;
  __device__ void operator()(int64_t i, const Batch&) const { to[i] = from[i]; }
};

/// y = 0
struct SetToZero {
  float* y;
  __device__ void operator()(int64_t i, const Batch&) const { y[i] = 0.0f; }
};

}  // namespace engine::cuda
