// Activations on their own: elementwise, and of whole rows.
#include "kernels/activations.h"

#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Acts>
void fill_elementwise(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kElementwiseActivations);
  ((table.activation_forward[index<Acts>()] = activation_forward<Acts>), ...);
  ((table.activation_backward[index<Acts>()] = activation_backward<Acts>), ...);
}

template <class... Acts>
void fill_rowwise(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kRowActivations);
  ((table.row_activation_forward[index<Acts>() - kElementwiseActivations] = row_activation_forward<Acts>), ...);
  ((table.row_activation_backward[index<Acts>() - kElementwiseActivations] = row_activation_backward<Acts>), ...);
}

}  // namespace

void fill_activations(KernelTable& table) {
  fill_elementwise(table, formulas::ElementwiseActivations<vf>{});
  fill_rowwise(table, formulas::RowActivations{});
}

}  // namespace engine::ENGINE_ISA
