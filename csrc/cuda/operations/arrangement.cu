// Operations that move the numbers of arrays: each copies a part of one array to a part of another.
#include "cuda/arrays.h"
#include "cuda/elements.h"
#include "formulas/reductions.h"
#include "graph/operations/arrangement.h"

namespace engine::cuda {
namespace {

void schedule_copy(Schedule& schedule, const graph::Copy& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_array_elements(memory, op.y, CopyNumbers{memory.scratch(op.x.value), memory.scratch(op.y.value)});
  });
}

/// y[i_0, i_1, ...]: axis k of y is axis axes[k] of x
struct Transpose {
  static constexpr int64_t kSharedBytes = sizeof(Strided);

  Array x, y;
  int8_t axes[kMaxGpuAxes];
  __device__ void operator()(const Batch& batch) const {
    const Strided& transposed = once_in_block<Strided>(0, [&](Strided& to) {
      to.begin(x.data);
      for (int k = 0; k < x.axes; ++k) to.append(x.lengths[axes[k]].at(batch), x.stride(batch, axes[k]));
    });
    for_each(transposed.numbers(), [&](int64_t i) { y.data[i] = x.data[transposed.offset(i)]; });
  }
};

void schedule_transpose(Schedule& schedule, const graph::Transpose& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    Transpose step{array_of(memory, op.x), array_of(memory, op.y), {}};
    for (size_t k = 0; k < op.axes.size(); ++k) step.axes[k] = static_cast<int8_t>(op.axes[k]);
    return for_array(memory, op.y, step);
  });
}

// ---- Slices and joined arrays ---------------------------------------------------------------------------------------

/// Element (i, j, ...) of a slice is element (begin_0 + i step_0, begin_1 + j step_1, ...) of the whole array.
struct CopySlice {
  static constexpr int64_t kSharedBytes = sizeof(Strided);

  Array whole, slice;
  Length begin[kMaxGpuAxes];
  int64_t step[kMaxGpuAxes];
  bool writes_whole;  // whether the slice is copied into the whole array, and not out of it

  __device__ void operator()(const Batch& batch) const {
    const Strided& part = once_in_block<Strided>(0, [&](Strided& to) {
      to.begin(whole.data);
      for (int k = 0; k < whole.axes; ++k) {
        const int64_t stride = whole.stride(batch, k);
        to.data += (begin[k].fixed + begin[k].per_sample * batch.rows) * stride;
        to.append(slice.lengths[k].at(batch), step[k] * stride);
      }
    });
    for_each(part.numbers(), [&](int64_t i) {
      float& of_whole = part.data[part.offset(i)];
      (writes_whole ? of_whole : slice.data[i]) = writes_whole ? slice.data[i] : of_whole;
    });
  }
};

CopySlice copy_slice(const RunMemory& memory, const graph::Array& whole, const graph::Array& slice,
                     const graph::Selection& selection, bool writes_whole) {
  CopySlice step{array_of(memory, whole), array_of(memory, slice), {}, {}, writes_whole};
  for (size_t k = 0; k < selection.step.size(); ++k) {
    step.begin[k] = {selection.begin[k].fixed, selection.begin[k].per_sample};
    step.step[k] = selection.step[k];
  }
  return step;
}

void schedule_slice(Schedule& schedule, const graph::Slice& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_array(memory, op.y, copy_slice(memory, op.x, op.y, op.selection, false));
  });
}

void schedule_place_slice(Schedule& schedule, const graph::PlaceSlice& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_array_elements(memory, op.y, SetToZero{memory.scratch(op.y.value)});
  });
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_array(memory, op.x, copy_slice(memory, op.y, op.x, op.selection, true));
  });
}

/// A part is a slice of the joined array: it begins where the parts before it end.
void schedule_join(Schedule& schedule, const graph::Join& op) {
  const auto axis = static_cast<size_t>(op.axis);
  graph::Selection selection{std::vector<graph::Extent>(op.y.shape.size()), std::vector<int64_t>(op.y.shape.size(), 1)};
  for (const graph::Array& part : op.parts) {
    schedule.add(op, [&op, &part, selection](const RunMemory& memory) {
      return for_array(memory, part, copy_slice(memory, op.y, part, selection, true));
    });
    selection.begin[axis].fixed += part.shape[axis].fixed;
    selection.begin[axis].per_sample += part.shape[axis].per_sample;
  }
}

// ---- Rows by index --------------------------------------------------------------------------------------------------

/// A table (b..., n, r...), indices (b..., i...) into its axis n, and the rows (b..., i..., r...) that they name.
struct IndexedRows {
  Array table, indices, rows;
  int batch_axes;  // how many axes b... are

  /// The sizes of the axes in a batch, each kind as one.
  struct Sizes {
    int64_t batches, count, indices, row;  // b, n, i, r
  };
  __device__ Sizes sizes(const Batch& batch) const {
    return {table.numbers(batch, 0, batch_axes), table.lengths[batch_axes].at(batch),
            indices.numbers(batch, batch_axes, indices.axes), table.numbers(batch, batch_axes + 1, table.axes)};
  }
};

IndexedRows indexed_rows(const RunMemory& memory, const graph::Array& table, const graph::Array& indices,
                         const graph::Array& rows, int batch_axes) {
  return {array_of(memory, table), array_of(memory, indices), array_of(memory, rows), batch_axes};
}

/// The rows are copied from the table; those whose index is out of range become NaN.
struct Gather {
  static constexpr int64_t kSharedBytes = 0;

  IndexedRows all;
  __device__ void operator()(const Batch& batch) const {
    const IndexedRows::Sizes n = all.sizes(batch);
    for_each(n.batches * n.indices * n.row, [&](int64_t i) {
      const int64_t at = i / n.row;
      const float index = all.indices.data[at];
      const bool exists = index >= 0.0f && index < static_cast<float>(n.count);
      const int64_t entry = at / n.indices * n.count + (exists ? static_cast<int64_t>(index) : 0);
      all.rows.data[i] = exists ? all.table.data[entry * n.row + i % n.row] : __builtin_nanf("");
    });
  }
};

void schedule_gather(Schedule& schedule, const graph::Gather& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_array(memory, op.y, Gather{indexed_rows(memory, op.x, op.indices, op.y, op.batch_axes)});
  });
}

/// The rows are combined with the table, which holds the initial number, in the order of the indices. The entries of a
/// table are divided into ranges: a thread walks over all indices for one column of one range, so that no two threads
/// add to the same number.
struct Scatter {
  static constexpr int64_t kSharedBytes = 0;

  IndexedRows all;
  Reduction kind;
  int64_t threads;  // about so many

  __device__ void operator()(const Batch& batch) const {
    const IndexedRows::Sizes n = all.sizes(batch);
    const int64_t columns = n.batches * n.row;
    if (columns == 0 || n.count == 0) return;
    const int64_t wanted = (threads + columns - 1) / columns, ranges = wanted < n.count ? wanted : n.count;
    const int64_t entries = (n.count + ranges - 1) / ranges;
    for_each(columns * ranges, [&](int64_t i) {
      const int64_t r = i % n.row, range = i / n.row, b = range / ranges, begin = (range - b * ranges) * entries;
      float* const column = all.table.data + b * n.count * n.row + r;
      for (int64_t at = b * n.indices; at < (b + 1) * n.indices; ++at) {
        const float index = all.indices.data[at];
        if (!(index >= 0.0f && index < static_cast<float>(n.count))) continue;
        const auto entry = static_cast<int64_t>(index);
        if (entry < begin || entry >= begin + entries) continue;
        float& number = column[entry * n.row];
        number = formulas::combine(kind, number, all.rows.data[at * n.row + r]);
      }
    });
  }
};

struct SetToNumber {
  float* y;
  float number;
  __device__ void operator()(int64_t i, const Batch&) const { y[i] = number; }
};

void schedule_scatter(Schedule& schedule, const graph::Scatter& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_array_elements(memory, op.y, SetToNumber{memory.scratch(op.y.value), op.initial});
  });
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t threads = memory.schedule.multiprocessors() * kThreads;
    const IndexedRows all = indexed_rows(memory, op.y, op.indices, op.x, op.batch_axes);
    return for_array(memory, op.y, Scatter{all, op.kind, threads});
  });
}

}  // namespace

void add_arrangements(OperationRegistry& all) {
  all.add<graph::Copy>(schedule_copy);
  all.add<graph::Transpose>(schedule_transpose);
  all.add<graph::Slice>(schedule_slice);
  all.add<graph::PlaceSlice>(schedule_place_slice);
  all.add<graph::Join>(schedule_join);
  all.add<graph::Gather>(schedule_gather);
  all.add<graph::Scatter>(schedule_scatter);
}

}  // namespace engine::cuda
