// The gradient of a normalization, of operations that can be differentiated once more.
#pragma once
#include "graph/array.h"

namespace engine::graph {

/// The gradient by `x` (m, n) from the one by y = d / sqrt(mean(d^2) + epsilon) with d = x - mean(x) where `centred`,
/// else x. The means are those of rows (axis 1), or of columns over the batch (axis 0).
Array add_normalization_gradient(Graph& graph, const Array& x, ValueId dy, int axis, float epsilon, bool centred);

}  // namespace engine::graph
