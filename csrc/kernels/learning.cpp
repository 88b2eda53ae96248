// Stored gradients on their way to the weights.
#include "kernels/learning.h"

#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

using Rules =
    Types<Sgd, Momentum, Nesterov, Adam, Amsgrad, Rmsprop<Optimizer::kRmsprop, false, false>,
          Rmsprop<Optimizer::kRmspropMomentum, true, false>, Rmsprop<Optimizer::kRmspropCentered, false, true>,
          Rmsprop<Optimizer::kRmspropCenteredMomentum, true, true>, Adamax, Nadam, Adagrad, Adadelta, Lion, Ftrl>;

template <class... Opts>
void fill(KernelTable& table, Types<Opts...>) {
  static_assert(sizeof...(Opts) == kOptimizers);
  ((table.step_weights[index<Opts>()] = step_weights<Opts>), ...);
}

}  // namespace

void fill_learning(KernelTable& table) {
  fill(table, Rules{});
  table.squared_sums = column_sums<Square>;
  table.magnitude_sums = column_sums<Magnitude>;
  table.penalty_gradient = penalty_gradient;
  table.accumulate = accumulate;
  table.take_mean = take_mean;
  table.average = average;
}

}  // namespace engine::ENGINE_ISA
