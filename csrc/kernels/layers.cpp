// Layers that are no products: moving numbers, noise, normalization.
#include "kernels/fill.h"
#include "kernels/layer_table.h"
#include "kernels/take.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr LayerTable kLayers{take, take_backward};

}  // namespace

void fill_layers(KernelTable& table) { table.layers = &kLayers; }

}  // namespace engine::ENGINE_ISA
