// Metrics: values by sample, and sums over samples.
#include "kernels/metrics.h"

#include "kernels/fill.h"
#include "kernels/metric_sums.h"
#include "kernels/narrow_rows.h"

namespace engine::ENGINE_ISA {
namespace {

using Values = Types<CategoricalAccuracy, BinaryAccuracy, TopKCategoricalAccuracy, Accuracy>;
using Tallies = Types<Thresholds, FScore, Confusion, Moments>;

template <class... Ms>
constexpr void fill_values(MetricTable& table, Types<Ms...>) {
  static_assert(sizeof...(Ms) == kMetrics);
  ((table.values[index<Ms>()][index(Target::kSparse)] = metric_rows<Ms, Target::kSparse>), ...);
  ((table.values[index<Ms>()][index(Target::kDense)] = metric_rows<Ms, Target::kDense>), ...);
  table.values[index<CategoricalAccuracy>()][index(Target::kSparse)] = categorical_accuracy_rows<Target::kSparse>;
  table.values[index<CategoricalAccuracy>()][index(Target::kDense)] = categorical_accuracy_rows<Target::kDense>;
}

template <class... Ms>
constexpr void fill_tallies(MetricTable& table, Types<Ms...>) {
  static_assert(sizeof...(Ms) == kTallies);
  ((table.tally[index<Ms>()][index(Target::kSparse)] = Ms::template rows<Target::kSparse>), ...);
  ((table.tally[index<Ms>()][index(Target::kDense)] = Ms::template rows<Target::kDense>), ...);
}

constexpr MetricTable make_metrics() {
  MetricTable table{};
  fill_values(table, Values{});
  fill_tallies(table, Tallies{});
  return table;
}

constexpr MetricTable kMetricTable = make_metrics();

}  // namespace

void fill_metrics(KernelTable& table) { table.metrics = &kMetricTable; }

}  // namespace engine::ENGINE_ISA
