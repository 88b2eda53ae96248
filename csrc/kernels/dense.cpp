// Enters into the table the forward products of dense layers and their input gradients.
#include "kernels/dense_forward.h"
#include "kernels/dense_input_gradient.h"
#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Acts>
void fill(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kFusedActivations);
  ((table.dense_forward[index<Acts>()] = dense_forward<Acts>), ...);
  ((table.dense_input_gradient[index<Acts>()] = dense_input_gradient<Acts>), ...);
}

}  // namespace

void fill_dense(KernelTable& table) {
  fill(table, Types<Linear, Relu>{});
  table.sum_partials = sum_partials;
}

}  // namespace engine::ENGINE_ISA
