// Activations on their own: elementwise, and of whole rows.
#include "kernels/activations.h"

#include "kernels/blocks.h"
#include "kernels/fill.h"
#include "kernels/piecewise.h"
#include "kernels/row_activations.h"

namespace engine::ENGINE_ISA {
namespace {

using Elementwises = Types<Linear, Relu, Sigmoid, Tanh, Exponential, Silu, Gelu, GeluTanh, Mish, Softplus, LogSigmoid,
                           Softsign, TanhShrink, Elu, Selu, Celu, Squareplus, Relu6, LeakyRelu, GeneralRelu, HardTanh,
                           HardSigmoid, HardSilu, SparsePlus, SparseSigmoid, SoftShrink, HardShrink, Threshold>;
using Rowwises = Types<Softmax, LogSoftmax, Sparsemax>;

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
  fill_elementwise(table, Elementwises{});
  fill_rowwise(table, Rowwises{});
}

}  // namespace engine::ENGINE_ISA
