// Records of a data set, made by a team.
#pragma once
#include "kernels/table.h"
#include "plan/executor.h"

namespace engine {

/// Of kind kNone where more than half of the elements is not zero.
SparseRows make_sparse_rows(const KernelTable& kernels, const DatasetView& data, float scale, int threads);

}  // namespace engine
