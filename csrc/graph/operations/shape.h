// Layers that move the numbers of samples: transposes, repetitions, joined rows.
#pragma once
#include "graph/layer.h"

namespace engine::graph {

/// Layers "permute": axis k of the samples of y is axis axes[k] of those of x, which have the lengths `lengths`;
/// "repeat": y has the row of x `count` times; and "concatenate".
std::shared_ptr<Layer> read_permute(const Attributes& attributes);
std::shared_ptr<Layer> read_repeat(const Attributes& attributes);
std::shared_ptr<Layer> read_concatenate(const Attributes& attributes);

}  // namespace engine::graph
