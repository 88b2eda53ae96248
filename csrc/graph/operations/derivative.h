// Derivatives within a model, such as those of a gradient penalty.
#pragma once
#include "graph/array_layer.h"

namespace engine::graph {

/// The layer "gradients" computes the derivatives of the sum of its first input by each of its other inputs. Its output
/// has no numbers: it stands for all of them, and a layer "gradient" with the attribute "index" reads one.
std::shared_ptr<Layer> read_gradients(const Attributes& attributes);
std::shared_ptr<Layer> read_gradient(const Attributes& attributes);

}  // namespace engine::graph
