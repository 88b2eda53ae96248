// What kernels know of the batch that they work on. It lies in memory of the card, so that a kernel is launched with
// the same arguments for every batch.
#pragma once
#include <cstdint>

#include "formulas/optimizers.h"

namespace engine::cuda {

/// Bytes for the constants that an optimizer's rule derives from a step.
inline constexpr int kCoefficientBytes = 64;

struct Batch {
  int64_t first;  // its first sample within the pass
  int64_t rows;   // samples
  int64_t whole;  // samples of the whole batch: a micro-batch is a part of one
  const int32_t*
      order;           // of each sample of the batch, its row in the data set; null: they lie in the order of the pass
  int64_t draw;        // number of the random draws
  int64_t first_draw;  // number of the first sample in them; in training, how many of the batch come before it
  bool steps_weights;  // whether the optimizer steps after this batch: it may accumulate the gradients of several
  bool overwrites;     // whether the running mean of the weights replaces them after this batch
  OptimizerStep step;
  alignas(16) unsigned char coefficients[kCoefficientBytes];       // of the optimizer's rule
  alignas(16) unsigned char adam_coefficients[kCoefficientBytes];  // of Muon, for the weights that it leaves to Adam
};

/// The row of the data set that sample `b` of the batch is.
ENGINE_INLINE int64_t data_row(const Batch& batch, int64_t b) { return batch.order ? batch.order[b] : batch.first + b; }

}  // namespace engine::cuda
