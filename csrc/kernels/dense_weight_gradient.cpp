// Enters the weight gradients of dense layers into the table: those that step the weights, and the one that is stored.
#include "kernels/dense_weight_gradient.h"

#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

using Optimizers = Types<Sgd, Momentum, Nesterov, Adam>;

template <class... Opts>
void fill(KernelTable& table, Types<Opts...>) {
  static_assert(sizeof...(Opts) == kFusedOptimizers);
  ((table.coefficients[index<Opts>()] = fill_coefficients<Opts>), ...);
  ((table.dense_backward_weights[index<Opts>()][index(Shrinkage::kNone)] =
        dense_backward_weights<Opts, Shrinkage::kNone>),
   ...);
  ((table.dense_backward_weights[index<Opts>()][index(Shrinkage::kSome)] =
        dense_backward_weights<Opts, Shrinkage::kSome>),
   ...);
}

}  // namespace

void fill_weights(KernelTable& table) {
  fill(table, Optimizers{});
  table.dense_gradient = dense_backward_weights<StoreGradient, Shrinkage::kNone>;
}

}  // namespace engine::ENGINE_ISA
