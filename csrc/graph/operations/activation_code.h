// Elementwise activations as the code of maps, recorded from their formulas (formulas/activations.h).
#pragma once
#include "graph/operations/activation.h"
#include "graph/operations/map_code.h"

namespace engine::graph {

/// y = f(z), of an elementwise activation
MapCode activation_code(Activation activation, const ActivationParameters& parameters);

/// dz = f'(saved) dy, from the inputs (saved, dy)
MapCode activation_gradient_code(Activation activation, const ActivationParameters& parameters);

}  // namespace engine::graph
