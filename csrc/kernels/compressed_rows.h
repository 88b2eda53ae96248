// Rows in CSR (compressed sparse rows, as in scipy.sparse): for each row a list of its nonzero elements. Part of the
// interface of table.h.
#pragma once
#include <cstdint>

#include "kernels/layout.h"

namespace engine {

/// The elements of all rows, one after the other: those of row i are from begins[i] to begins[i + 1].
struct CompressedRows {
  const int64_t* begins;   // (rows + 1,)
  const int32_t* columns;  // ascending within a row, each once
  const float* values;
};

/// The samples of a batch, indexed like the rows of GatherArgs.
struct CompressedBatch {
  CompressedRows rows;
  const int32_t* order;
  int64_t first;
  float scale;  // of the values

  int64_t row(int64_t sample) const { return order ? order[first + sample] : first + sample; }
};

/// The sums of the weight gradient for some of the inputs, to which sample after sample is added: a view of scratch.
struct CompressedSums {
  /// The most floats of one array of sums: 256 KiB, so that two of them leave half of the L2 cache to other data. With
  /// less space for inputs, every sample would be read more often.
  static constexpr int64_t kMost = 64 << 10;

  float* sums;        // of the chains before
  float* chain;       // of the current chain
  int64_t* elements;  // (samples,): the next element of each
  int64_t floats;     // of each array

  static constexpr int64_t most(int64_t inputs) {
    return inputs < kMost / kPanel ? round_up(inputs * kPanel, kLineFloats) : kMost;
  }
  /// Floats of scratch for a batch.
  static constexpr int64_t scratch(int64_t samples, int64_t inputs) {
    return 2 * most(inputs) + round_up(2 * samples, kLineFloats);
  }

  CompressedSums(float* scratch, int64_t inputs)
      : sums(scratch),
        chain(sums + most(inputs)),
        elements(reinterpret_cast<int64_t*>(chain + most(inputs))),
        floats(most(inputs)) {}
};

/// x (rows, k) = value * scale + offset for rows in CSR, whose other elements are 0
struct GatherCompressed {
  const CompressedBatch* batch;
  float* x;
  int64_t ldx, k;
  float offset;
  Range rows;
};

}  // namespace engine
