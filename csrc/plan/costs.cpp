#include "plan/costs.h"

#include <algorithm>

namespace engine {
namespace {

/// Floating-point operations that pay for one more thread: at 200 GFLOP/s a thread's share then takes 4 us,
/// against about 1 us for a step's three barriers and the uneven ends of its slices.
constexpr double kFlopsPerThread = 800e3;

/// Units that a thread must compute from its own copy of the input rows: gathering them all is then a few percent
/// of its products.
constexpr int64_t kUnitsPerCopy = 32;
/// Floats in all the copies together: 64 MiB.
constexpr int64_t kMostCopied = 1 << 24;

}  // namespace

int worthwhile_threads(const ModelSpec& model, Plan::Mode mode, int64_t rows, int most) {
  const double passes = mode == Plan::Mode::kTrain ? 3.0 : 1.0;
  double flops = 0.0;  // which may be more than an integer holds
  int64_t width = model.input_size;
  for (const LayerSpec& layer : model.layers) {
    if (layer.kind != LayerSpec::Kind::kDense) continue;
    flops += 2.0 * static_cast<double>(width * layer.units) * static_cast<double>(rows) * passes;
    width = layer.units;
  }
  return static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(most)));
}

bool feeds_all(int64_t extent, int threads) { return (extent + kLane - 1) / kLane >= threads; }

bool pays_to_copy_rows(int64_t rows, int64_t inputs, int64_t units, int threads) {
  return units >= kUnitsPerCopy * threads && threads * rows * leading_dimension(inputs) <= kMostCopied;
}

bool pays_to_find_zeros(int64_t units) { return units >= kUnitsPerCopy; }

}  // namespace engine
