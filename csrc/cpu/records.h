// A data set as a team looks through it, and the records that it makes.
#pragma once
#include "kernels/table.h"
#include "plan/executor.h"

namespace engine {

/// Of `threads`, as many as are worth their while to look through all values once.
int readers(const DatasetView& data, int threads);

/// Of kind kNone where more than half of the elements is not zero.
SparseRows make_sparse_rows(const KernelTable& kernels, const DatasetView& data, float scale, int threads);

}  // namespace engine
