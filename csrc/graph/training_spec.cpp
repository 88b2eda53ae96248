#include "graph/training_spec.h"

namespace engine {

int64_t state_size(const MetricSpec& metric, int64_t outputs) {
  if (metric.kind == MetricSpec::Kind::kScores) return 0;
  if (metric.kind != MetricSpec::Kind::kTally) return 2;
  const int64_t classes = outputs == 1 ? 2 : outputs;
  switch (metric.tally) {
    case Tally::kThresholds:
      return (metric.by_column ? outputs : 1) * 2 * (static_cast<int64_t>(metric.thresholds.size()) + 1);
    case Tally::kFScore:
      return 3 * outputs;
    case Tally::kConfusion:
      return classes * classes;
    case Tally::kMoments:
      return 4 * outputs + 1;
  }
  return 0;
}

}  // namespace engine
