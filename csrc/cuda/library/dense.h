// Products of dense layers by cuBLASLt, and kernels for what surrounds them.
#pragma once
#include "cuda/schedule.h"
#include "graph/operations/dense.h"

namespace engine::cuda {

/// Each schedules an operation whose product the library computes, and returns true; false: this project's tiles do
/// (library/products_choice.h).
bool schedule_by_library(Schedule& schedule, const graph::Dense& op);
bool schedule_by_library(Schedule& schedule, const graph::DenseInputGradient& op);
bool schedule_by_library(Schedule& schedule, const graph::DenseWeightGradient& op);

}  // namespace engine::cuda
