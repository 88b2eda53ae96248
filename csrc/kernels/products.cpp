// A dense layer's products with its kernel, forwards and backwards.
#include "kernels/dense_forward.h"
#include "kernels/dense_input_gradient.h"
#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Acts>
void fill(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kFusedActivations);
  ((table.dense_forward[index<Acts>()] = dense_forward<Acts>), ...);
  ((table.dense_backward_input[index<Acts>()] = dense_backward_input<Acts>), ...);
}

}  // namespace

void fill_products(KernelTable& table) {
  fill(table, Types<Linear, Relu>{});
  table.sum_partials = sum_partials;
}

}  // namespace engine::ENGINE_ISA
