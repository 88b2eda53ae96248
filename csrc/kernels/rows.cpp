// What is computed sample by sample: losses and metrics.
#include "kernels/fill.h"
#include "kernels/losses_focal.h"
#include "kernels/losses_margin.h"
#include "kernels/losses_regression.h"
#include "kernels/metrics.h"
#include "kernels/narrow_rows.h"

namespace engine::ENGINE_ISA {
namespace {

using Losses = Types<Crossentropy, SoftmaxCrossentropy, BinaryCrossentropy, SigmoidCrossentropy,
                     BinaryFocalCrossentropy, CategoricalFocalCrossentropy, Tversky, MeanSquaredError,
                     MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError, Huber, LogCosh,
                     CosineSimilarity, KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge>;
using Metrics = Types<CategoricalAccuracy, BinaryAccuracy, MeanSquaredErrorMetric>;

template <class... Ls>
void fill_losses(KernelTable& table, Types<Ls...>) {
  static_assert(sizeof...(Ls) == kLosses);
  ((table.loss[index<Ls>()][index(Target::kSparse)] = loss_rows<Ls, Target::kSparse>), ...);
  ((table.loss[index<Ls>()][index(Target::kDense)] = loss_rows<Ls, Target::kDense>), ...);
  table.loss[index<SoftmaxCrossentropy>()][index(Target::kSparse)] = softmax_crossentropy_rows<Target::kSparse>;
  table.loss[index<SoftmaxCrossentropy>()][index(Target::kDense)] = softmax_crossentropy_rows<Target::kDense>;
}

template <class... Ms>
void fill_metrics(KernelTable& table, Types<Ms...>) {
  static_assert(sizeof...(Ms) == kMetrics);
  ((table.metric[index<Ms>()][index(Target::kSparse)] = metric_rows<Ms, Target::kSparse>), ...);
  ((table.metric[index<Ms>()][index(Target::kDense)] = metric_rows<Ms, Target::kDense>), ...);
  table.metric[index<CategoricalAccuracy>()][index(Target::kSparse)] = categorical_accuracy_rows<Target::kSparse>;
  table.metric[index<CategoricalAccuracy>()][index(Target::kDense)] = categorical_accuracy_rows<Target::kDense>;
}

}  // namespace

void fill_rows(KernelTable& table) {
  fill_losses(table, Losses{});
  fill_metrics(table, Metrics{});
}

}  // namespace engine::ENGINE_ISA
