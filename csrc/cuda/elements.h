// Steps that compute each element of their result by itself.
#pragma once
#include <utility>

#include "cuda/kernel.h"

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

}  // namespace engine::cuda
