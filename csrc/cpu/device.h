// The CPU as a device.
#pragma once
#include "runtime/device.h"

namespace engine::cpu {

/// The one of this process.
Device& device();

/// Makes its next runs use so many threads; 0 goes back to as many as the machine allows this process.
void set_threads(int n);

/// The same for the runs of the calling thread alone; 0 goes back to the number of the process. Returns the former one.
int set_threads_here(int n);

/// Records of the non-zero numbers of all rows, times `scale`; of kind kNone where they would not pay.
SparseRows sparse_rows(const DatasetView& data, float scale);

/// The first row with a number that is not finite as a float32; -1 for none.
int64_t first_nonfinite_row(const DatasetView& data);

}  // namespace engine::cpu
