#include "plan/costs.h"

#include <algorithm>
#include <limits>

#include "plan/operations.h"

namespace engine {
namespace {

/// Floating-point operations that pay for one more thread: at 200 GFLOP/s a thread's share then takes 3 us,
/// against about 1 us for a step's three barriers and the uneven ends of its slices.
constexpr double kFlopsPerThread = 600e3;

/// Operations that take as long as the optimizer's way over a weight and its slots, 0.25 ns with Adam where they come
/// out of the L2 cache.
constexpr double kFlopsPerUpdate = 50.0;

/// Units that a thread must compute from its own copy of the input rows: gathering them all is then a few percent
/// of its products.
constexpr int64_t kUnitsPerCopy = 32;

/// Rows times threads up to which it is cheaper that everybody computes the loss of all rows (20 ns each) than that
/// gradients cross from core to core, with a barrier more.
constexpr int64_t kMostLossRows = 512;

/// Floats in all the copies of one buffer: 4 MiB. Larger ones don't stay in the caches whose lines they would keep.
constexpr int64_t kMostSeparated = 1 << 20;

/// Floats in all the copies together: 64 MiB.
constexpr int64_t kMostCopied = 1 << 24;

/// Rows of a batch that one thread predicts: enough for the tiles to find their weights in a cache near by, few enough
/// for the rows (128 of 784 floats: 400 KB) to be in the L2 cache for whatever reads them again.
constexpr int64_t kRowsTogether = 128;

/// The same where Python is called for each batch.
constexpr int64_t kRowsForPython = 1024;

/// Rows of a batch, inputs and units from which on a product in packed blocks is quicker than one from where they lie.
constexpr int64_t kPackedRows = 128, kPackedSide = 256;
/// Columns of a thread that share what it has packed of a.
constexpr int64_t kPackedColumns = 64;

/// The next power of two, so that predictions of many sizes share few plans.
int64_t round_to_power(int64_t n) {
  int64_t size = 1;
  while (size < n) size *= 2;
  return size;
}

}  // namespace

int worthwhile_threads(const ModelSpec& model, Plan::Mode mode, int64_t rows, int most) {
  const bool trains = mode == Plan::Mode::kTrain;
  const double flops_per_weight =
      2.0 * static_cast<double>(rows) * (trains ? 3.0 : 1.0) + (trains ? kFlopsPerUpdate : 0.0);
  double flops = 0.0;  // which may be more than an integer holds
  int64_t size = model.input_size;
  for (const LayerSpec& layer : model.layers) {
    const bool dense = layer.kind == LayerSpec::Kind::kDense;
    if (dense) flops += flops_per_weight * static_cast<double>(size * layer.units);
    size = size_after(layer, size);
  }
  return static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(most)));
}

Shares share_out(const ModelSpec& model, Plan::Mode mode, int64_t rows, const std::function<int()>& most) {
  const int useful = worthwhile_threads(model, mode, rows, std::numeric_limits<int>::max());
  const int threads = useful > 1 ? std::min(useful, most()) : 1;
  if (mode == Plan::Mode::kSample && mixes_samples(model)) return {1, threads, round_to_power(rows)};
  if (asks_python(model, true)) return {1, threads, std::min(round_to_power(rows), kRowsForPython)};
  if (threads > 1 && !feeds_all(rows, threads)) return {1, threads, round_to_power(rows)};
  const int64_t share = divide_up(rows, threads);
  return {threads, 1, std::min(round_to_power(share), kRowsTogether)};
}

bool feeds_all(int64_t extent, int threads) { return divide_up(extent, kLane) >= threads; }

bool pays_to_copy_rows(int64_t rows, int64_t inputs, int64_t units, int threads) {
  return units >= kUnitsPerCopy * threads && threads * rows * leading_dimension(inputs) <= kMostCopied;
}

bool pays_to_separate(int64_t floats, int threads) { return threads * floats <= kMostSeparated; }

bool pays_to_sum_partials(int64_t inputs, int64_t units, int threads) {
  return threads > 1 && sums_in_slices(units) && feeds_all(inputs, threads) && inputs <= kMostSlices * kSlice;
}

bool pays_to_repeat_loss(int64_t rows, int threads) { return rows * threads <= kMostLossRows; }

bool pays_to_pack(int64_t rows, int64_t inputs, int64_t units, int threads) {
  const int64_t least = std::max(kPackedSide, kPackedColumns * threads);
  return rows >= kPackedRows && inputs >= least && units >= least;
}

bool pays_to_find_zeros(int64_t units) { return units >= kUnitsPerCopy; }

}  // namespace engine
