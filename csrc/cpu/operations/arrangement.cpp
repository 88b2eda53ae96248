// Operations that move the numbers of arrays: each copies a part of one array to a part of another.
#include "graph/operations/arrangement.h"

#include <cstring>
#include <limits>

#include "cpu/strides.h"
#include "formulas/reductions.h"
#include "graph/operations/map.h"

namespace engine::cpu {
namespace {

using graph::Array;

/// This thread's part of the output.
struct Own {
  Strided y;
  Range rows;  // of the first axis
};

Own own_part(const Array& y, Loop loop, const ThreadContext& thread) {
  Own own{strided(y, thread), own_rows(thread, y, loop)};
  own.y.restrict_to(0, own.rows);
  return own;
}

void copy(const graph::Copy& op, const ThreadContext& thread) {
  const Own own = own_part(op.y, op.rows, thread);
  Strided x = strided(op.x, thread);
  x.restrict_to(0, own.rows);
  copy_elements(thread.kernels, x, own.y);
}

void transpose(const graph::Transpose& op, const ThreadContext& thread) {
  const Own own = own_part(op.y, op.rows, thread);
  const Strided x = strided(op.x, thread);
  Strided turned = x;
  for (size_t i = 0; i < op.axes.size(); ++i) {
    turned.length[i] = x.length[op.axes[i]];
    turned.stride[i] = x.stride[op.axes[i]];
  }
  turned.restrict_to(0, own.rows);
  copy_elements(thread.kernels, turned, own.y);
}

void slice(const graph::Slice& op, const ThreadContext& thread) {
  const Own own = own_part(op.y, op.rows, thread);
  if (own.y.is_empty()) return;
  const Strided y = strided(op.y, thread);
  Strided x = selected(strided(op.x, thread), op.selection, y, thread);
  x.restrict_to(0, own.rows);
  copy_elements(thread.kernels, x, own.y);
}

void place_slice(const graph::PlaceSlice& op, const ThreadContext& thread) {
  const Own own = own_part(op.y, op.rows, thread);
  if (own.y.is_empty()) return;
  fill_elements(thread.kernels, own.y, 0.0f);
  Strided x = strided(op.x, thread);
  if (x.is_empty()) return;
  Strided y = selected(strided(op.y, thread), op.selection, x, thread);
  if (!op.selection.step.empty()) {
    const Range rows =
        indices_in(own.rows, op.selection.begin[0].at(thread.batch.rows), op.selection.step[0], x.length[0]);
    x.restrict_to(0, rows);
    y.restrict_to(0, rows);
  }
  copy_elements(thread.kernels, x, y);
}

void join(const graph::Join& op, const ThreadContext& thread) {
  const Range own = own_rows(thread, op.y, op.rows);
  int64_t begin = 0;
  for (const Array& part : op.parts) {
    Strided x = strided(part, thread), y = strided(op.y, thread);
    const int64_t end = begin + x.length[op.axis];
    y.restrict_to(op.axis, {begin, end});
    // This thread's rows of y, counted from the first row of the part.
    const int64_t first = op.axis == 0 ? begin : 0, length = x.length[0];
    const Range rows{std::clamp<int64_t>(own.begin - first, 0, length),
                     std::clamp<int64_t>(own.end - first, 0, length)};
    x.restrict_to(0, rows);
    y.restrict_to(0, rows);
    copy_elements(thread.kernels, x, y);
    begin = end;
  }
}

// ---- Rows by index ----------------------------------------------------------------------------------------------

/// The three arrays of a gather or a scatter, by their axes: a table (b..., n, r...), indices (b..., i...) into its
/// axis n, and the rows of the table that they name, (b..., i..., r...).
struct IndexedRows {
  Strided table, indices, rows;
  int batch_axes;  // how many axes b... are
  int index_axes;  // how many axes the indices have: b... and i...
  int64_t count;   // n

  IndexedRows(const Array& of_table, const Array& of_indices, const Array& of_rows, int batch,
              const ThreadContext& thread)
      : table(strided(of_table, thread)),
        indices(strided(of_indices, thread)),
        rows(strided(of_rows, thread)),
        batch_axes(batch),
        index_axes(static_cast<int>(of_indices.shape.size())),
        count(table.length[batch]) {}

  /// One row, without data: the axes of `array` from `first` on.
  static Strided row_of(const Strided& array, int first) {
    Strided row;
    for (int i = first; i < array.axes; ++i) row.append(array.length[i], array.stride[i]);
    if (row.axes == 0) row.append(1, 1);
    return row;
  }

  /// For each index, calls f(its row of `rows`, its row of the table). The latter has no data where the index is not
  /// `within` a range, or out of that of the table.
  template <class F>
  void each(Range within, F&& f) const {
    Strided row = row_of(rows, index_axes), entry = row_of(table, batch_axes + 1);
    merge_axes(row, entry);
    // Where the rows and the tables of the batch begin, by the axes of the indices. An index without axes has one of
    // length 1.
    Strided row_begins, tables;
    row_begins.data = rows.data;
    tables.data = table.data;
    for (int i = 0; i < indices.axes; ++i) {
      row_begins.append(indices.length[i], i < index_axes ? rows.stride[i] : 0);
      tables.append(indices.length[i], i < batch_axes ? table.stride[i] : 0);
    }
    const int last = indices.last();
    for (Walk<3> walk({&indices, &row_begins, &tables}, last); !walk.done(); walk.next()) {
      for (int64_t i = 0; i < indices.length[last]; ++i) {
        const float index = walk.data(0)[i * indices.stride[last]];
        const bool exists = index >= 0.0f && index < static_cast<float>(count);
        const int64_t at = exists ? static_cast<int64_t>(index) : -1;
        const bool is_within = at >= within.begin && at < within.end;
        row.data = walk.data(1) + i * row_begins.stride[last];
        entry.data = is_within ? walk.data(2) + i * tables.stride[last] + at * table.stride[batch_axes] : nullptr;
        f(row, entry);
      }
    }
  }
};

/// Whether an array whose axes have been merged lies side by side.
bool is_contiguous(const Strided& array) { return array.axes == 1 && (array.stride[0] == 1 || array.length[0] == 1); }

void gather(const graph::Gather& op, const ThreadContext& thread) {
  const Range own = own_rows(thread, op.y, op.rows);
  IndexedRows all(op.x, op.indices, op.y, op.batch_axes, thread);
  all.rows.restrict_to(0, own);
  if (all.index_axes > 0) {
    all.indices.restrict_to(0, own);
    if (op.batch_axes > 0) all.table.restrict_to(0, own);
  } else if (all.table.axes > 1) {
    all.table.restrict_to(1, own);  // there is one index, and the first axis of y is that of its row
  }
  if (all.rows.is_empty()) return;
  all.each({0, all.count}, [&](const Strided& y, const Strided& x) {
    if (x.data && is_contiguous(x) && is_contiguous(y)) {
      std::memcpy(y.data, x.data, static_cast<size_t>(x.length[0]) * sizeof(float));
    } else if (x.data) {
      copy_elements(thread.kernels, x, y);
    } else {
      fill_elements(thread.kernels, y, std::numeric_limits<float>::quiet_NaN());
    }
  });
}

void combine_elements(const KernelTable& kernels, Reduction kind, const Strided& from, const Strided& to) {
  if (is_contiguous(from) && is_contiguous(to)) {
    return kernels.combine_rows[index(kind)]({from.data, 0, 1, to.length[0], to.data});
  }
  Strided x = from, y = to;
  merge_axes(x, y);
  const int last = y.last();
  for (Walk<2> walk({&y, &x}, last); !walk.done(); walk.next()) {
    float* const out = walk.data(0);
    const float* const in = walk.data(1);
    const int64_t step_in = x.stride[last], step_out = y.stride[last];
    for (int64_t i = 0; i < y.length[last]; ++i) {
      out[i * step_out] = formulas::combine(kind, out[i * step_out], in[i * step_in]);
    }
  }
}

/// Threads share the first axis of y. If that is the one with the indices, each thread reads all of them, since two
/// may be equal, and changes the rows of its own part.
void scatter(const graph::Scatter& op, const ThreadContext& thread) {
  const Range own = own_rows(thread, op.y, op.rows);
  IndexedRows all(op.y, op.indices, op.x, op.batch_axes, thread);
  Strided own_table = all.table;
  own_table.restrict_to(0, own);
  if (own_table.is_empty()) return;
  fill_elements(thread.kernels, own_table, op.initial);
  if (op.batch_axes > 0) {
    all.table = own_table;
    all.indices.restrict_to(0, own);
    all.rows.restrict_to(0, own);
  }
  if (all.rows.is_empty()) return;
  all.each(op.batch_axes > 0 ? Range{0, all.count} : own, [&](const Strided& x, const Strided& y) {
    if (y.data) combine_elements(thread.kernels, op.kind, x, y);
  });
}

// ---- Schedules --------------------------------------------------------------------------------------------------

template <class Op, void (*run)(const Op&, const ThreadContext&)>
void schedule(Scheduler& scheduler, const Op& op) {
  auto& step = scheduler.add<SimpleStep<Op>>(op, split_array(scheduler, op, op.y, op.rows), run);
  step.may_be_tiled = step.split.shares(graph::kRows);
}

/// Whether a map may read the rows of a gather where they lie.
bool may_gather(const graph::Operation* reader, const graph::Gather& op) {
  const auto* const map = dynamic_cast<const graph::Map*>(reader);
  if (!map || map->y().shape != op.y.shape) return false;
  for (size_t i = 0; i < map->inputs.size(); ++i) {
    const bool reads = map->inputs[i].value == op.y.value;
    if (reads && (!map->reads_whole(i) || map->inputs[i].shape != op.y.shape)) return false;
  }
  return true;
}

/// Whether all readers may do so, as nothing changes the rows before.
bool is_gathered_by_maps(const Scheduler& scheduler, const graph::Gather& op) {
  const auto& readers = scheduler.readers(op.y.value);
  const bool has_rows = op.batch_axes == 0 && op.indices.shape.size() == 1 && op.x.shape.size() > 1;
  const bool is_alone =
      scheduler.value(op.y.value).kind == graph::Value::Kind::kArray && !scheduler.graph().is_output(op.y.value);
  const bool fits = scheduler.one_team() && has_rows && is_alone && !readers.empty() &&
                    std::all_of(readers.begin(), readers.end(),
                                [&](const graph::Operation* reader) { return may_gather(reader, op); });
  if (!fits) return false;
  const auto& operations = scheduler.graph().operations();
  return std::none_of(operations.begin(), operations.end(), [&](const auto& operation) {
    const auto operands = operation->operands();
    return std::any_of(operands.begin(), operands.end(), [&](const Operand& each) {
      return each.use == graph::Use::kUpdate && (each.value == op.x.value || each.value == op.indices.value);
    });
  });
}

void schedule_gather(Scheduler& scheduler, const graph::Gather& op) {
  if (!is_gathered_by_maps(scheduler, op)) return schedule<graph::Gather, gather>(scheduler, op);
  scheduler.set_gather(op.y.value, op);
  scheduler.leave_out(op.y.value);
}

}  // namespace

void add_arrangements(OperationRegistry& all) {
  all.add<graph::Copy>(schedule<graph::Copy, copy>);
  all.add<graph::Transpose>(schedule<graph::Transpose, transpose>);
  all.add<graph::Slice>(schedule<graph::Slice, slice>);
  all.add<graph::PlaceSlice>(schedule<graph::PlaceSlice, place_slice>);
  all.add<graph::Join>(schedule<graph::Join, join>);
  all.add<graph::Gather>(schedule_gather);
  all.add<graph::Scatter>(scatter, [](const Scheduler& scheduler, const graph::Scatter& op) {
    return split_array(scheduler, op, op.y, op.rows);
  });
}

}  // namespace engine::cpu
