// The kernels of metrics: those with a value for each sample, and those made from sums over all samples. Other rooms
// reach them through KernelTable::metrics.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine {

struct MetricRows {
  const float* y_pred;
  int64_t ld, n;
  Targets targets;
  float threshold;  // binary accuracy; top k: that many
  float* values;    // (rows,)
  Range rows;
};

struct TallyRows {
  const float* y_pred;
  int64_t ld, n;
  Targets targets;
  Range rows;
  const float* sample_weight;  // by row of the data set's outputs, or null
  const float* thresholds;     // (count,), ascending
  int64_t count;
  bool even;        // thresholds are 0, 1 / (count - 1), ... 1, so that they need no search
  bool below_zero;  // `even`, except that the first is a little less than 0
  int64_t column;   // the only output to count; -1: all
  int64_t top_k;    // outputs of a sample that can be above a threshold; 0: all
  bool by_column;
  bool logits;    // outputs still have to go through a sigmoid
  double* state;  // to be added to
};

/// Takes the place of an output that is not among the k largest, as Keras' minus infinity does.
inline constexpr float kBelowAll = -1e10f;

struct MetricTable {
  void (*values[kMetrics][kTargets])(const MetricRows&);
  void (*tally[kTallies][kTargets])(const TallyRows&);
};

}  // namespace engine
