#include "graph/training_spec.h"

namespace engine {

int64_t state_size(const MetricSpec& metric, int64_t outputs) {
  if (metric.kind == MetricSpec::Kind::kScores) return 0;
  if (metric.kind != MetricSpec::Kind::kSums) return 2;
  const int64_t classes = outputs == 1 ? 2 : outputs;
  switch (metric.sums) {
    case MetricSum::kThresholds:
      return (metric.by_column ? outputs : 1) * 2 * (static_cast<int64_t>(metric.thresholds.size()) + 1);
    case MetricSum::kFScore:
      return 3 * outputs;
    case MetricSum::kConfusion:
      return classes * classes;
    case MetricSum::kMoments:
      return 4 * outputs + 1;
  }
  return 0;
}

}  // namespace engine
