// Reductions of maps.
#pragma once
#include "cpu/scheduler.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"

namespace engine::cpu {

/// Schedules a map together with the reduction that alone reads it, so that nothing between them is stored. Returns
/// false, and schedules nothing, where the map has other readers or that would take longer.
bool schedule_reduction_of(Scheduler& scheduler, const graph::Map& map);

}  // namespace engine::cpu
