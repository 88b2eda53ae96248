// Derivatives within a model, such as those of a gradient penalty.
#pragma once
#include "graph/array_layer.h"

namespace engine::graph {

/// Layers "gradients" (of the sum of its first input, by its other inputs) and "gradient" (one of them).
std::shared_ptr<Layer> read_gradients(const Attributes& attributes);
std::shared_ptr<Layer> read_gradient(const Attributes& attributes);

}  // namespace engine::graph
