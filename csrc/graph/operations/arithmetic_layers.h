// Layers of arithmetic on elements, which are maps.
#pragma once
#include "graph/layer.h"

namespace engine::graph {

std::shared_ptr<Layer> read_rescaling(const Attributes& attributes);
std::shared_ptr<Layer> read_add(const Attributes& attributes);

}  // namespace engine::graph
