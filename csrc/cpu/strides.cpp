#include "cpu/strides.h"

#include <cstring>

namespace engine {
namespace {

/// Sets the strides of row-major elements that lie side by side, from the last axis to `first`. Returns their number.
int64_t set_contiguous(Strided& all, int first) {
  int64_t step = 1;
  for (int i = all.axes; i-- > first;) {
    all.stride[i] = step;
    step *= all.length[i];
  }
  return step;
}

/// Sets the strides of the rows of a batch, of `columns` numbers each: the axes that make up a row lie side by side,
/// and all others step over rows.
void set_rows(Strided& all, int64_t columns, int64_t ld) {
  int first = all.axes;
  int64_t numbers = 1;
  while (first > 0 && numbers != columns) numbers *= all.length[--first];
  set_contiguous(all, first);
  int64_t step = ld;
  for (int i = first; i-- > 0;) {
    all.stride[i] = step;
    step *= all.length[i];
  }
}

bool merges(const Strided& array, int outer) {
  return array.stride[outer] == array.stride[outer + 1] * array.length[outer + 1];
}

constexpr int64_t kShortRun = 16;

void copy_run(const float* from, float* to, int64_t n) {
  if (n >= kShortRun) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

/// The axis along which neighbours lie side by side; -1 if there is none.
int unit_axis(const Strided& array) {
  for (int i = array.axes; i-- > 0;) {
    if (array.stride[i] == 1) return i;
  }
  return -1;
}

void move_to_end(Strided& array, int axis) {
  const int64_t length = array.length[axis], stride = array.stride[axis];
  array.erase(axis);
  array.append(length, stride);
}

}  // namespace

Strided strided(const graph::Array& array, const ThreadContext& thread) {
  using Kind = graph::Value::Kind;
  Strided all;
  for (const graph::Extent& extent : array.shape) all.append(length_of(extent, thread), 0);
  if (all.axes == 0) all.append(1, 1);
  const graph::Value& value = thread.schedule.value(array.value);
  if (value.kind == Kind::kBatch) {
    set_rows(all, value.columns, thread.shape(array.value).ld);
  } else {
    set_contiguous(all, 0);
  }
  const bool is_row = value.kind == Kind::kVariable || value.kind == Kind::kConstant;
  all.data = is_row ? const_cast<float*>(thread.row(array.value)) : thread.data(array.value);
  return all;
}

void merge_axes(Strided* const* arrays, int count) {
  for (int i = 0; i < arrays[0]->axes && arrays[0]->axes > 1;) {
    if (arrays[0]->length[i] != 1) {
      ++i;
      continue;
    }
    for (int n = 0; n < count; ++n) arrays[n]->erase(i);
  }
  for (int i = arrays[0]->axes - 1; i-- > 0;) {
    if (!std::all_of(arrays, arrays + count, [&](const Strided* array) { return merges(*array, i); })) continue;
    for (int n = 0; n < count; ++n) {
      arrays[n]->length[i + 1] *= arrays[n]->length[i];
      arrays[n]->erase(i);
    }
  }
}

void copy_elements(const KernelTable& kernels, const Strided& source, const Strided& target) {
  if (target.is_empty()) return;
  Strided from = source, to = target;
  merge_axes(from, to);
  const int contiguous = unit_axis(to), read = unit_axis(from);
  if (contiguous >= 0) {
    move_to_end(from, contiguous);
    move_to_end(to, contiguous);
  }
  const int last = to.last();
  const int64_t n = to.length[last];
  const bool transposes = contiguous >= 0 && read >= 0 && read != contiguous;
  if (transposes) {
    const int column = read < contiguous ? read : read - 1;  // where the axis is now
    const int64_t columns = to.length[column], ld_in = from.stride[last], ld_out = to.stride[column];
    from.erase(column);
    to.erase(column);
    for (Walk<2> walk({&to, &from}, to.last()); !walk.done(); walk.next()) {
      kernels.transpose({walk.data(1), ld_in, walk.data(0), ld_out, {0, n}, {0, columns}});
    }
    return;
  }
  for (Walk<2> walk({&to, &from}, last); !walk.done(); walk.next()) {
    float* const out = walk.data(0);
    const float* const in = walk.data(1);
    const int64_t step_in = from.stride[last], step_out = to.stride[last];
    if (step_in == 1 && step_out == 1) {
      copy_run(in, out, n);
    } else {
      for (int64_t i = 0; i < n; ++i) out[i * step_out] = in[i * step_in];
    }
  }
}

void fill_elements(const Strided& target, float number) {
  Strided to = target;
  merge_axes(to);
  const int last = to.last();
  for (Walk<1> walk({&to}, last); !walk.done(); walk.next()) {
    for (int64_t i = 0; i < to.length[last]; ++i) walk.data(0)[i * to.stride[last]] = number;
  }
}

namespace {

/// Numbers of an output that are not worth sharing: one thread computes them, or every thread does for itself.
constexpr int64_t kSmallArray = 4096;

/// Whether every thread has what the operation reads, without waiting for another one.
bool has_all_inputs(const Scheduler& scheduler, const graph::Operation& operation) {
  const auto operands = operation.operands();
  return std::all_of(operands.begin(), operands.end(), [&](const Operand& each) {
    return each.value == kNoValue || each.use == graph::Use::kWrite || scheduler.is_copied(each.value) ||
           scheduler.is_known(each.value);
  });
}

}  // namespace

Split split_array(const Scheduler& scheduler, const graph::Operation& operation, const graph::Array& y, Loop rows) {
  if (rows != kWhole) return Split::over(rows);
  if (graph::numbers_in(y.shape, scheduler.max_rows()) > kSmallArray) return Split::over(kAnyRows);
  const graph::Value& value = scheduler.value(y.value);
  const bool in_scratch = value.kind != graph::Value::Kind::kGradient;
  return scheduler.one_team() && in_scratch && has_all_inputs(scheduler, operation) ? Split::every_thread()
                                                                                    : Split::one_thread();
}

Range own_rows(const ThreadContext& thread, const graph::Array& y, Loop rows) {
  if (y.shape.empty()) return thread.range(kAnyRows, 1);
  if (rows == kSamples) {
    const Range own = thread.samples();
    const int64_t rows = graph::rows_per_sample(y.shape, thread.schedule.graph().batch);
    return {own.begin * rows, own.end * rows};
  }
  return thread.range(rows == kWhole ? kAnyRows : rows, length_of(y.shape[0], thread));
}

}  // namespace engine
