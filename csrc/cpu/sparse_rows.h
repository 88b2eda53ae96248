// Makes the sparse records of a data set: the non-zero numbers of each row and their positions.
#pragma once
#include "kernels/table.h"
#include "runtime/device.h"

namespace engine::cpu {

/// Returns the records of the rows of `data`, multiplied by `scale`. Their kind is kNone if more than half of the
/// numbers are not zero.
SparseRows make_sparse_rows(const KernelTable& kernels, const DatasetView& data, float scale, int threads);

}  // namespace engine::cpu
