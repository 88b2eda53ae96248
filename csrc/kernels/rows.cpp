// What is computed sample by sample: losses.
#include "kernels/fill.h"
#include "kernels/losses_focal.h"
#include "kernels/losses_margin.h"
#include "kernels/losses_regression.h"
#include "kernels/narrow_rows.h"

namespace engine::ENGINE_ISA {
namespace {

using Losses = Types<Crossentropy, SoftmaxCrossentropy, BinaryCrossentropy, SigmoidCrossentropy,
                     BinaryFocalCrossentropy, CategoricalFocalCrossentropy, Tversky, GeneralizedCrossentropy,
                     MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError,
                     Huber, LogCosh, CosineSimilarity, KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge>;

template <class... Ls>
void fill_losses(KernelTable& table, Types<Ls...>) {
  static_assert(sizeof...(Ls) == kLosses);
  ((table.loss[index<Ls>()][index(Target::kDense)] = losses<Ls, Target::kDense>), ...);
  table.loss[index<Crossentropy>()][index(Target::kSparse)] = losses<Crossentropy, Target::kSparse>;
  table.loss[index<SoftmaxCrossentropy>()][index(Target::kSparse)] = losses<SoftmaxCrossentropy, Target::kSparse>;
  table.loss[index<GeneralizedCrossentropy>()][index(Target::kSparse)] =
      losses<GeneralizedCrossentropy, Target::kSparse>;
}

}  // namespace

void fill_rows(KernelTable& table) { fill_losses(table, Losses{}); }

}  // namespace engine::ENGINE_ISA
