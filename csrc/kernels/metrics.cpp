// Enters the metrics into the table: those with a value for each sample, and those made from sums over all samples.
#include "kernels/metrics.h"

#include "kernels/fill.h"
#include "kernels/metric_sums.h"
#include "kernels/narrow_rows.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Ms>
void fill_values(KernelTable& table, Types<Ms...>) {
  static_assert(sizeof...(Ms) == kMetrics);
  ((table.metric_values[index<Ms>()][index(Target::kSparse)] = metric_rows<Ms, Target::kSparse>), ...);
  ((table.metric_values[index<Ms>()][index(Target::kDense)] = metric_rows<Ms, Target::kDense>), ...);
}

template <class... Ms>
void fill_sums(KernelTable& table, Types<Ms...>) {
  static_assert(sizeof...(Ms) == kMetricSums);
  ((table.metric_sums[index<Ms>()][index(Target::kSparse)] = Ms::template rows<Target::kSparse>), ...);
  ((table.metric_sums[index<Ms>()][index(Target::kDense)] = Ms::template rows<Target::kDense>), ...);
}

}  // namespace

void fill_metrics(KernelTable& table) {
  fill_values(table, Types<CategoricalAccuracy, BinaryAccuracy, TopKCategoricalAccuracy, Accuracy>{});
  auto& accuracy = table.metric_values[index<CategoricalAccuracy>()];
  accuracy[index(Target::kSparse)] = categorical_accuracy_rows<Target::kSparse>;
  accuracy[index(Target::kDense)] = categorical_accuracy_rows<Target::kDense>;
  fill_sums(table, Types<Thresholds, FScore, Confusion, R2Sums>{});
}

}  // namespace engine::ENGINE_ISA
