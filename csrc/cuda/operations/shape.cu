// Operations that move numbers without changing them.
#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "graph/operations/shape.h"

namespace engine::cuda {
namespace {

/// to[r, first_to + j] = from[r, first_from + j] for j below `columns`
struct CopyColumns {
  const float* from;
  float* to;
  int64_t columns, ld_from, first_from, ld_to, first_to;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t r = i / columns, j = i % columns;
    to[r * ld_to + first_to + j] = from[r * ld_from + first_from + j];
  }
};

/// A copy of `columns` columns for each row of `rows_of`, a value of the batch.
Elements<CopyColumns> copy_columns(const Schedule& schedule, ValueId rows_of, const CopyColumns& copy) {
  return {0, schedule.placement(rows_of).groups * copy.columns, schedule.max_rows(), copy};
}

void schedule_reshape(Schedule& schedule, const graph::Reshape& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t columns = memory.schedule.placement(op.y).columns;
    return copy_columns(memory.schedule, op.y,
                        {memory.scratch(op.x), memory.scratch(op.y), columns, columns, 0, columns, 0});
  });
}

void schedule_concatenate(Schedule& schedule, const graph::Concatenate& op) {
  int64_t first = 0;
  for (const ValueId part : op.parts) {
    const int64_t columns = schedule.placement(part).columns;
    schedule.add(op, [&op, part, columns, first](const RunMemory& memory) {
      const int64_t all = memory.schedule.placement(op.y).columns;
      return copy_columns(memory.schedule, op.y,
                          {memory.scratch(part), memory.scratch(op.y), columns, columns, 0, all, first});
    });
    first += columns;
  }
}

void schedule_slice_columns(Schedule& schedule, const graph::SliceColumns& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t columns = memory.schedule.placement(op.y).columns, all = memory.schedule.placement(op.x).columns;
    return copy_columns(memory.schedule, op.y,
                        {memory.scratch(op.x), memory.scratch(op.y), columns, all, op.first, columns, 0});
  });
}

}  // namespace

void add_shape(Implementations& all) {
  all.add<graph::Reshape>(schedule_reshape);
  all.add<graph::Concatenate>(schedule_concatenate);
  all.add<graph::SliceColumns>(schedule_slice_columns);
}

}  // namespace engine::cuda
