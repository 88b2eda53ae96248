// Losses of rows as code, recorded from their formulas (formulas/losses.h).
#pragma once
#include <cstdint>
#include <vector>

#include "formulas/map_operations.h"
#include "graph/training_spec.h"

namespace engine::graph {

/// What may be made of the numbers of all columns. kStopGradient returns its operand, and no gradient flows through it.
enum class RowReduction { kNone, kSum, kMean, kMax, kStopGradient };
inline constexpr const char* kRowReductionNames[] = {"", "sum", "mean", "max", "stop_gradient"};

/// An instruction of a map, which may have a number for each column of a row or one for the row; or a reduction of
/// `map.a` over the columns. The registers are those of a map with two inputs: the outputs of a row and its targets.
struct RowInstruction {
  MapInstruction map;
  RowReduction reduction = RowReduction::kNone;
};

/// The loss of a row of `columns` outputs. The result is the last register.
std::vector<RowInstruction> loss_code(const LossSpec& loss, int64_t columns);

}  // namespace engine::graph
