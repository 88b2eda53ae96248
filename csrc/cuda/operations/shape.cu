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
  return for_samples(schedule, schedule.placement(rows_of).groups * copy.columns, copy);
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

// ---- Columns by index -----------------------------------------------------------------------------------------------

/// y[b,j] = x[b, indices[j]], or 0 where indices[j] is -1
struct SelectColumns {
  const float* x;
  float* y;
  const int32_t* indices;
  int64_t columns_of_x, columns_of_y;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int32_t from = indices[i % columns_of_y];
    y[i] = from < 0 ? 0.0f : x[i / columns_of_y * columns_of_x + from];
  }
};

void schedule_select_columns(Schedule& schedule, const graph::SelectColumns& op) {
  schedule.add(op, [&op, indices = copy_to_card(*op.indices)](const RunMemory& memory) {
    return for_elements(
        memory.schedule, op.y,
        SelectColumns{memory.scratch(op.x), memory.scratch(op.y), indices.get(),
                      memory.schedule.placement(op.x).columns, memory.schedule.placement(op.y).columns});
  });
}

/// dx[b,i] = the sum of dy[b, columns[p]] for p from begins[i] to begins[i + 1]
struct SelectColumnsGradient {
  const float* dy;
  float* dx;
  const int32_t *begins, *columns;
  int64_t columns_of_dy, columns_of_dx;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float* const row = dy + i / columns_of_dx * columns_of_dy;
    const int64_t column = i % columns_of_dx;
    float sum = 0.0f;
    for (int32_t p = begins[column]; p < begins[column + 1]; ++p) sum = sum + row[columns[p]];
    dx[i] = sum;
  }
};

void schedule_select_columns_gradient(Schedule& schedule, const graph::SelectColumnsGradient& op) {
  // The columns of dy that each column of dx was copied to, in ascending order.
  const auto count = static_cast<size_t>(schedule.placement(op.dx).columns);
  std::vector<std::vector<int32_t>> copies(count);
  for (size_t j = 0; j < op.indices->size(); ++j) {
    const int32_t index = (*op.indices)[j];
    if (index >= 0) copies[static_cast<size_t>(index)].push_back(static_cast<int32_t>(j));
  }
  std::vector<int32_t> begins{0}, columns;
  for (const std::vector<int32_t>& each : copies) {
    columns.insert(columns.end(), each.begin(), each.end());
    begins.push_back(static_cast<int32_t>(columns.size()));
  }
  schedule.add(op, [&op, begins = copy_to_card(begins), columns = copy_to_card(columns)](const RunMemory& memory) {
    return for_elements(
        memory.schedule, op.dx,
        SelectColumnsGradient{memory.scratch(op.dy), memory.scratch(op.dx), begins.get(), columns.get(),
                              memory.schedule.placement(op.dy).columns, memory.schedule.placement(op.dx).columns});
  });
}

}  // namespace

void add_shape(Implementations& all) {
  all.add<graph::Reshape>(schedule_reshape);
  all.add<graph::SelectColumns>(schedule_select_columns);
  all.add<graph::SelectColumnsGradient>(schedule_select_columns_gradient);
  all.add<graph::Concatenate>(schedule_concatenate);
  all.add<graph::SliceColumns>(schedule_slice_columns);
}

}  // namespace engine::cuda
