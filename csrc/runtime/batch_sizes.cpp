#include "runtime/batch_sizes.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace engine {

void refuse_scratch(int64_t max_rows) {
  throw std::length_error("a batch of " + std::to_string(max_rows) +
                          " rows needs more than 4 TiB of scratch memory: use a smaller `batch_size`");
}

int64_t max_elements(const graph::Shape& shape, int64_t max_rows) {
  int64_t numbers = 1;
  for (const graph::Extent& extent : shape) {
    const auto length = [&](int64_t samples) {
      return static_cast<double>(extent.fixed) + static_cast<double>(extent.per_sample) * static_cast<double>(samples);
    };
    const double most = std::max({length(1), length(max_rows), 1.0});
    if (most > static_cast<double>(kMaxScratch / numbers)) refuse_scratch(max_rows);
    numbers *= static_cast<int64_t>(most);
  }
  return numbers;
}

bool predicts_in_one_batch(const graph::Graph& graph) {
  return graph.joins_samples || (graph.mode() == graph::Mode::kSample && graph.joins_samples_in_training);
}

int64_t round_to_power(int64_t n) {
  constexpr int64_t kLargest = int64_t{1} << 62;
  int64_t size = 1;
  while (size < n && size < kLargest) size *= 2;
  return size;
}

}  // namespace engine
