// Steps that a thread does for a few rows of arrays at a time: what one step writes is still in the L2 cache when the
// next one reads it, and arrays that nobody else needs exist for these rows alone.
#pragma once
#include <memory>
#include <vector>

#include "cpu/schedule.h"

namespace engine::cpu {

/// Finds neighbouring steps that share the rows of arrays and need nothing but the same rows of what the others write.
/// Gives each such group the rows of a tile, and values that only one group uses the memory of a tile for each thread.
/// `may_shrink` says by value whether nothing but the operands of steps ever looks at it.
void tile_rows(const std::vector<std::unique_ptr<Step>>& steps, const std::vector<graph::Value>& values,
               std::vector<Placement>& placements, const std::vector<bool>& may_shrink, int64_t max_rows);

}  // namespace engine::cpu
