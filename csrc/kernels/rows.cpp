// What is computed sample by sample: losses.
#include "kernels/fill.h"
#include "kernels/losses_focal.h"
#include "kernels/losses_margin.h"
#include "kernels/losses_regression.h"
#include "kernels/narrow_rows.h"

namespace engine::ENGINE_ISA {
namespace {

using Losses = Types<Crossentropy, SoftmaxCrossentropy, BinaryCrossentropy, SigmoidCrossentropy,
                     BinaryFocalCrossentropy, CategoricalFocalCrossentropy, Tversky, MeanSquaredError,
                     MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError, Huber, LogCosh,
                     CosineSimilarity, KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge>;

/// Those that are sums over elements.
using ElementLosses = Types<BinaryCrossentropy, SigmoidCrossentropy, BinaryFocalCrossentropy, MeanSquaredError,
                            MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError, Huber, LogCosh,
                            KLDivergence, Poisson, Hinge, SquaredHinge>;

/// Of numbers, which are what such losses are asked for.
template <class... Ls>
void fill_element_losses(KernelTable& table, Types<Ls...>) {
  ((table.loss[index<Ls>()][index(Target::kDense)] = element_loss_rows<Ls, Target::kDense>), ...);
}

template <class... Ls>
void fill_losses(KernelTable& table, Types<Ls...>) {
  static_assert(sizeof...(Ls) == kLosses);
  ((table.loss[index<Ls>()][index(Target::kDense)] = loss_rows<Ls, Target::kDense>), ...);
  table.loss[index<Crossentropy>()][index(Target::kSparse)] = loss_rows<Crossentropy, Target::kSparse>;
  table.loss[index<SoftmaxCrossentropy>()][index(Target::kSparse)] = softmax_crossentropy_rows<Target::kSparse>;
  table.loss[index<SoftmaxCrossentropy>()][index(Target::kDense)] = softmax_crossentropy_rows<Target::kDense>;
}

}  // namespace

void fill_rows(KernelTable& table) {
  fill_losses(table, Losses{});
  fill_element_losses(table, ElementLosses{});
}

}  // namespace engine::ENGINE_ISA
