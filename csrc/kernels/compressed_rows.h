// The part of the door for rows that come as lists of what is not zero in them: "CSR", as of scipy.sparse.
#pragma once
#include <cstdint>

#include "kernels/layout.h"

namespace engine {

/// Rows whose elements lie one after the other, those of row i from begins[i] to begins[i + 1].
struct CompressedRows {
  const int64_t* begins;   // (rows + 1,)
  const int32_t* columns;  // ascending within a row, each once
  const float* values;
};

/// Samples of a batch, indexed like Gather's rows.
struct CompressedBatch {
  CompressedRows rows;
  const int32_t* order;
  int64_t first;
  float scale;  // of the values

  int64_t row(int64_t sample) const { return order ? order[first + sample] : first + sample; }
};

/// Where the gradients of some of the inputs are summed up, sample after sample: a view of scratch memory.
struct CompressedSums {
  /// Floats of one array of sums: 256 KiB, two of which leave half of the L2 cache to all else. The fewer inputs fit,
  /// the more often every sample is taken up again.
  static constexpr int64_t kMost = 64 << 10;

  float* sums;        // of the chains so far ...
  float* chain;       // ... and of the one at hand
  int64_t* elements;  // (samples,) the next of each
  int64_t floats;     // of either array

  static constexpr int64_t most(int64_t inputs) {
    return inputs < kMost / kPanel ? round_up(inputs * kPanel, kLane) : kMost;
  }
  /// Floats of scratch for a batch.
  static constexpr int64_t scratch(int64_t samples, int64_t inputs) {
    return 2 * most(inputs) + round_up(2 * samples, kLane);
  }

  CompressedSums(float* scratch, int64_t inputs)
      : sums(scratch),
        chain(sums + most(inputs)),
        elements(reinterpret_cast<int64_t*>(chain + most(inputs))),
        floats(most(inputs)) {}
};

/// x (rows, k) = value * scale + offset, where rows hold nothing of 0
struct GatherCompressed {
  const CompressedBatch* batch;
  float* x;
  int64_t ldx, k;
  float offset;
  Range rows;
};

}  // namespace engine
