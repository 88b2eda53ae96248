// Enters into the table the weight gradients of dense layers: the one that is stored, and those that step the weights.
#include "kernels/dense_weight_gradient.h"

#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

using Optimizers = Types<Sgd, Momentum, Nesterov, Adam>;

template <class... Opts>
void fill(KernelTable& table, Types<Opts...>) {
  static_assert(sizeof...(Opts) == kFusedOptimizers);
  ((table.coefficients[index<Opts>()] = fill_coefficients<Opts>), ...);
  ((table.dense_weight_step[index<Opts>()][index(Shrinkage::kNone)] = dense_weight_step<Opts, Shrinkage::kNone>), ...);
  ((table.dense_weight_step[index<Opts>()][index(Shrinkage::kSome)] = dense_weight_step<Opts, Shrinkage::kSome>), ...);
}

}  // namespace

void fill_dense_weight_gradient(KernelTable& table) {
  fill(table, Optimizers{});
  table.dense_weight_gradient = dense_weight_step<StoreGradient, Shrinkage::kNone>;
}

}  // namespace engine::ENGINE_ISA
