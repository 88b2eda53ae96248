// Metrics that are made from sums over all samples: counts by threshold, F-score counts, confusion matrices and
// moments. Each number of a metric's state is the sum of one warp, which goes through all rows, so that no two threads
// add to the same number.
#include <algorithm>
#include <stdexcept>

#include "cuda/row_weights.h"
#include "cuda/warp_rows.h"
#include "formulas/elementary.h"
#include "graph/operations/loss.h"

namespace engine::cuda {
namespace {

/// The predictions of an output, their targets and weights.
struct Predictions {
  const float* y_pred;
  int64_t columns;
  Targets targets;
  RowWeights weights;
  double* state;

  __device__ int64_t rows(const Batch& batch) const { return targets.groups * batch.rows; }
  __device__ const float* row(int64_t b) const { return y_pred + b * columns; }
  /// The target of one number, where a class index stands for its one-hot row.
  __device__ float target(const Batch& batch, int64_t b, int64_t j) const {
    const int64_t row = targets.row(batch, b);
    return !targets.sparse ? targets.view.dense[row * columns + j] : targets.view.labels[row] == j ? 1.0f : 0.0f;
  }
};

const MetricSpec& spec_of(const RunMemory& memory, const graph::MetricOfSums& op) {
  return memory.training().metrics[static_cast<size_t>(op.metric)];
}

/// Like the CPU, it counts rows that the mask of an output leaves out.
Predictions predictions(const RunMemory& memory, const graph::MetricOfSums& op) {
  const MetricSpec& spec = spec_of(memory, op);
  const Placement& y = memory.schedule.placement(op.y_pred);
  const float* const weights =
      spec.weighted ? memory.data.targets[static_cast<size_t>(spec.output)].sample_weight : nullptr;
  return {memory.scratch(op.y_pred),
          y.columns,
          targets_of(memory, spec.output, y.groups),
          {weights, nullptr, false, 0},
          memory.metric_sums(op.metric)};
}

/// Adds the sum of value(b) over the rows to a number of the state, by a warp.
template <class F>
__device__ void add_over_rows(int64_t rows, double* to, F&& value) {
  double sum = 0.0;
  for (int64_t b = threadIdx.x % kWarp; b < rows; b += kWarp) sum += value(b);
  const double total = sum_of_warp(sum);
  if (threadIdx.x % kWarp == 0) *to += total;
}

/// The column of a row's first largest number.
__device__ int64_t argmax(const float* x, int64_t n) {
  int64_t at = 0;
  for (int64_t j = 1; j < n; ++j) at = x[j] > x[at] ? j : at;
  return at;
}

// ---- Counts by threshold, and confusion matrices --------------------------------------------------------------------

/// bins[i] = the index of the number of the state that output i is added to (a confusion matrix has one output for each
/// row), or -1
struct AssignBins {
  /// Kernels get so many thresholds as arguments.
  static constexpr int kMaxThresholds = 512;

  Predictions all;
  int32_t* bins;  // (rows, columns), or (rows,) of confusion matrices
  MetricSum sums;
  int64_t count;  // of thresholds
  bool even, below_zero, by_column, logits;
  int64_t column, top_k, max_rows;
  float thresholds[kMaxThresholds];

  int64_t of_row() const { return sums == MetricSum::kConfusion ? 1 : all.columns; }
  int64_t blocks() const { return (all.targets.groups * max_rows * of_row() + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return 0; }

  /// How many thresholds lie below x; none for a NaN.
  __device__ int64_t thresholds_below(float x) const {
    if (!even) {
      int64_t below = 0;
      while (below < count && thresholds[below] < x) ++below;
      return below;
    }
    const float scaled = (x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f) * static_cast<float>(count - 1);
    const auto whole = static_cast<int64_t>(scaled);
    const int64_t below = whole + (static_cast<float>(whole) < scaled ? 1 : 0);
    return below_zero && below == 0 ? 1 : below;
  }

  /// Whether column j is among the k largest of its row. Of equal numbers the first are the largest.
  __device__ bool is_among_largest(const float* row, int64_t j) const {
    int64_t larger = 0;
    for (int64_t i = 0; i < all.columns; ++i) larger += row[i] > row[j] || (row[i] == row[j] && i < j) ? 1 : 0;
    return larger < top_k;
  }

  __device__ int64_t bin_by_threshold(const Batch& batch, int64_t b, int64_t j) const {
    if (column >= 0 && j != column) return -1;
    const float* const row = all.row(b);
    float x = logits ? formulas::sigmoid(row[j]) : row[j];
    if (top_k > 0 && !is_among_largest(row, j)) x = kBelowAll;
    const int64_t positive = all.target(batch, b, j) != 0.0f ? 1 : 0;
    return ((by_column ? j : 0) * 2 + positive) * (count + 1) + thresholds_below(x);
  }

  __device__ int64_t bin_by_class(const Batch& batch, int64_t b) const {
    const int64_t n = all.columns, row = all.targets.row(batch, b);
    if (n == 1) {  // two classes, told apart by one output
      return (all.target(batch, b, 0) != 0.0f ? 2 : 0) + (all.row(b)[0] > thresholds[0] ? 1 : 0);
    }
    const int64_t truth =
        all.targets.sparse ? all.targets.view.labels[row] : argmax(all.targets.view.dense + row * n, n);
    return truth >= 0 && truth < n ? truth * n + argmax(all.row(b), n) : -1;
  }

  __device__ void run(const Batch& batch) const {
    if (sums == MetricSum::kConfusion) {
      for_each(all.rows(batch), [&](int64_t b) { bins[b] = static_cast<int32_t>(bin_by_class(batch, b)); });
      return;
    }
    for_each(all.rows(batch) * all.columns, [&](int64_t i) {
      bins[i] = static_cast<int32_t>(bin_by_threshold(batch, i / all.columns, i % all.columns));
    });
  }
};

/// Each number of the state += the weights of the outputs that belong to it.
struct AddToBins {
  Predictions all;
  const int32_t* bins;
  int64_t of_row, state_size;

  int64_t blocks() const { return blocks_for_warps(state_size); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    for_each_by_warp(state_size, [&](int64_t s) {
      add_over_rows(all.rows(batch) * of_row, all.state + s,
                    [&](int64_t i) { return bins[i] == s ? all.weights(all.targets, batch, i / of_row) : 0.0; });
    });
  }
};

// ---- F-scores and moments -------------------------------------------------------------------------------------------

/// Sums of w t, w t^2, w (t - y)^2 and w for each output, and the number of targets; or weights of true positives,
/// false positives and false negatives by class, for which the largest number of each row is known.
struct SumsOfColumns {
  static constexpr float kNothing = 1e-9f;  // Keras: the largest output counts only if it is more than that

  Predictions all;
  bool moments;
  bool has_threshold;
  float threshold;

  int64_t blocks() const { return blocks_for_warps(all.columns); }
  int64_t shared_bytes() const { return 0; }

  __device__ double guess(int64_t b, int64_t j) const {
    const float* const row = all.row(b);
    if (has_threshold) return row[j] > threshold ? 1.0 : 0.0;
    return row[j] >= row[argmax(row, all.columns)] && (row[j] > kNothing || row[j] < -kNothing) ? 1.0 : 0.0;
  }

  __device__ void run(const Batch& batch) const {
    const int64_t rows = all.rows(batch);
    const auto weight = [&](int64_t b) { return all.weights(all.targets, batch, b); };
    for_each_by_warp(all.columns, [&](int64_t j) {
      const auto target = [&](int64_t b) { return static_cast<double>(all.target(batch, b, j)); };
      if (!moments) {
        double* const counts = all.state + 3 * j;
        add_over_rows(rows, counts, [&](int64_t b) { return weight(b) * guess(b, j) * target(b); });
        add_over_rows(rows, counts + 1, [&](int64_t b) { return weight(b) * guess(b, j) * (1.0 - target(b)); });
        add_over_rows(rows, counts + 2, [&](int64_t b) { return weight(b) * (1.0 - guess(b, j)) * target(b); });
        return;
      }
      double* const sums = all.state + 4 * j;
      add_over_rows(rows, sums, [&](int64_t b) { return weight(b) * target(b); });
      add_over_rows(rows, sums + 1, [&](int64_t b) { return weight(b) * target(b) * target(b); });
      add_over_rows(rows, sums + 2, [&](int64_t b) {
        const double error = target(b) - static_cast<double>(all.row(b)[j]);
        return weight(b) * error * error;
      });
      add_over_rows(rows, sums + 3, weight);
      if (j == 0 && threadIdx.x % kWarp == 0) all.state[4 * all.columns] += static_cast<double>(rows * all.columns);
    });
  }
};

// ---- Schedule -------------------------------------------------------------------------------------------------------

bool has_bins(const MetricSpec& spec) {
  return spec.sums == MetricSum::kThresholds || spec.sums == MetricSum::kConfusion;
}

AssignBins assign_bins(const RunMemory& memory, const graph::MetricOfSums& op, int32_t* bins) {
  const MetricSpec& spec = spec_of(memory, op);
  const size_t count = spec.thresholds.size();
  AssignBins step{predictions(memory, op),
                  bins,
                  spec.sums,
                  static_cast<int64_t>(count),
                  spec.even,
                  spec.below_zero,
                  spec.by_column,
                  spec.logits,
                  spec.column,
                  spec.top_k,
                  has_bins(spec) ? memory.schedule.max_rows() : 0,
                  {}};
  if (!spec.even) std::copy(spec.thresholds.begin(), spec.thresholds.end(), step.thresholds);
  return step;
}

/// Which sums a metric needs is known with the run: the kernels of the others have no blocks.
void schedule_sums(Schedule& schedule, const graph::MetricOfSums& op) {
  const int64_t scratch = schedule.add_scratch(schedule.rows(op.y_pred) * schedule.placement(op.y_pred).columns);
  const auto bins = [scratch](const RunMemory& memory) {
    return reinterpret_cast<int32_t*>(memory.arguments.scratch + scratch);
  };
  schedule.add(op, [&op, bins](const RunMemory& memory) { return assign_bins(memory, op, bins(memory)); });
  schedule.add(op, [&op, bins](const RunMemory& memory) {
    const MetricSpec& spec = spec_of(memory, op);
    const Predictions all = predictions(memory, op);
    return AddToBins{all, bins(memory), spec.sums == MetricSum::kConfusion ? 1 : all.columns,
                     has_bins(spec) ? memory.metric_sums_size(op.metric) : 0};
  });
  schedule.add(op, [&op](const RunMemory& memory) {
    const MetricSpec& spec = spec_of(memory, op);
    Predictions all = predictions(memory, op);
    if (has_bins(spec)) all.columns = 0;
    const bool has_threshold = !spec.thresholds.empty();
    return SumsOfColumns{all, spec.sums == MetricSum::kMoments, has_threshold,
                         has_threshold ? spec.thresholds[0] : 0.0f};
  });
}

}  // namespace

void require_supported(const std::vector<MetricSpec>& metrics) {
  for (const MetricSpec& metric : metrics) {
    if (metric.kind == MetricSpec::Kind::kScores) {
      throw std::invalid_argument(
          "a GPU can't keep the scores of all samples yet, as a metric of this model asks: give the metric thresholds, "
          "or use the CPU, after engine.config.set_device('cpu')");
    }
    if (!metric.even && metric.thresholds.size() > AssignBins::kMaxThresholds) {
      throw std::invalid_argument("a GPU takes at most " + std::to_string(AssignBins::kMaxThresholds) +
                                  " thresholds of a metric, got " + std::to_string(metric.thresholds.size()) +
                                  ": pass fewer, or use the CPU, after engine.config.set_device('cpu')");
    }
  }
}

void add_metric_sums(OperationRegistry& all) { all.add<graph::MetricOfSums>(schedule_sums); }

}  // namespace engine::cuda
