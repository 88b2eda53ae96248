#include "cpu/strides.h"

#include <cstring>

#include "cpu/thresholds.h"

namespace engine::cpu {
namespace {

/// Sets the strides of the rows of a batch, of `columns` numbers each: the axes that make up a row lie side by side,
/// and all others step over rows.
void set_rows(Strided& all, int64_t columns, int64_t ld) {
  int first = all.axes;  // of the axes of a row
  int64_t numbers = 1;
  while (first > 0 && numbers != columns) numbers *= all.length[--first];
  set_contiguous(all, first);
  int64_t step = ld;
  for (int i = first; i-- > 0;) {
    all.stride[i] = step;
    step *= all.length[i];
  }
}

/// Whether the stride of the axis behind `outer` leads from the end of one of its rows to the next one.
bool merges(const Strided& array, int outer) {
  return array.stride[outer] == array.stride[outer + 1] * array.length[outer + 1];
}

/// Fewer floats than this are copied one by one: a call of memcpy or of a kernel costs more.
constexpr int64_t kShortRun = 16;

/// The last axis along which neighbours lie side by side; -1 if there is none.
int contiguous_axis(const Strided& array) {
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

/// to = from, where the elements of `to` lie side by side along axis `row`, and those of `from` along axis `column`.
void copy_transposed(const KernelTable& kernels, Strided from, Strided to, int row, int column) {
  const Range rows{0, to.length[row]}, columns{0, to.length[column]};
  const int64_t ld_from = from.stride[row], ld_to = to.stride[column];
  for (Strided* each : {&from, &to}) {
    each->erase(std::max(row, column));
    each->erase(std::min(row, column));
  }
  for (Walk<2> walk({&to, &from}, to.axes); !walk.done(); walk.next()) {
    kernels.transpose({walk.data(1), ld_from, walk.data(0), ld_to, rows, columns});
  }
}

}  // namespace

void set_contiguous(Strided& array, int first) {
  int64_t step = 1;
  for (int i = array.axes; i-- > first;) {
    array.stride[i] = step;
    step *= array.length[i];
  }
}

Strided strided(const graph::Array& array, const ThreadContext& thread) {
  using Kind = graph::Value::Kind;
  Strided all;
  for (const graph::Extent& extent : array.shape) all.append(length_of(extent, thread), 0);
  if (all.axes == 0) all.append(1, 1);
  const graph::Value& value = thread.schedule.value(array.value);
  if (value.kind == Kind::kBatch) {
    set_rows(all, value.columns, thread.placement(array.value).ld);
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

Strided selected(Strided from, const graph::Selection& selection, const Strided& like, const ThreadContext& thread) {
  for (size_t i = 0; i < selection.step.size(); ++i) {
    const auto axis = static_cast<int>(i);
    from.data += selection.begin[i].at(thread.batch.rows) * from.stride[axis];
    from.stride[axis] *= selection.step[i];
    from.length[axis] = like.length[axis];
  }
  return from;
}

Range indices_in(Range range, int64_t begin, int64_t step, int64_t count) {
  if (step < 0) {  // the same for the mirrored axis
    range = {-range.end + 1, -range.begin + 1};
    begin = -begin;
    step = -step;
  }
  const auto first_from = [&](int64_t bound) {  // the first i with begin + i step >= bound
    const int64_t distance = bound - begin;
    return distance <= 0 ? 0 : std::min(divide_up(distance, step), count);
  };
  return {first_from(range.begin), first_from(range.end)};
}

void copy_strided(const KernelTable& kernels, const float* from, int64_t step, float* to, int64_t n) {
  if (n < kShortRun) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i * step];
  } else if (step == 1) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
  } else {
    kernels.copy_strided({from, step, to, n});
  }
}

void copy_elements(const KernelTable& kernels, const Strided& source, const Strided& target) {
  if (target.is_empty()) return;
  Strided from = source, to = target;
  merge_axes(from, to);
  const int written = contiguous_axis(to), read = contiguous_axis(from);
  if (written >= 0 && read >= 0 && read != written) return copy_transposed(kernels, from, to, written, read);
  if (written >= 0) {
    move_to_end(from, written);
    move_to_end(to, written);
  }
  const int last = to.last();
  const int64_t n = to.length[last], step_in = from.stride[last], step_out = to.stride[last];
  for (Walk<2> walk({&to, &from}, last); !walk.done(); walk.next()) {
    float* const out = walk.data(0);
    const float* const in = walk.data(1);
    if (step_out == 1) {
      copy_strided(kernels, in, step_in, out, n);
    } else {
      for (int64_t i = 0; i < n; ++i) out[i * step_out] = in[i * step_in];
    }
  }
}

void fill_elements(const KernelTable& kernels, const Strided& target, float number) {
  Strided to = target;
  merge_axes(to);
  const int last = to.last();
  for (Walk<1> walk({&to}, last); !walk.done(); walk.next()) {
    if (to.stride[last] == 1) {
      copy_strided(kernels, &number, 0, walk.data(0), to.length[last]);
    } else {
      for (int64_t i = 0; i < to.length[last]; ++i) walk.data(0)[i * to.stride[last]] = number;
    }
  }
}

namespace {

/// Whether each thread can read all inputs of the operation without waiting for another thread.
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
  if (graph::element_count(y.shape, scheduler.max_rows()) > kSmallArray) return Split::over(kAnyRows);
  // Of a gradient there is one for all threads, and of other arrays each thread may have its own.
  const bool in_scratch = scheduler.value(y.value).kind != graph::Value::Kind::kGradient;
  return scheduler.one_team() && in_scratch && has_all_inputs(scheduler, operation) ? Split::every_thread()
                                                                                    : Split::one_thread();
}

Range own_rows(const ThreadContext& thread, const graph::Array& y, Loop rows) {
  if (y.shape.empty()) return thread.range(kAnyRows, 1);
  if (rows == kSamples) {
    const Range samples = thread.samples();
    const int64_t each = graph::rows_per_sample(y.shape, thread.schedule.graph().batch);
    return {samples.begin * each, samples.end * each};
  }
  return thread.range(rows == kWhole ? kAnyRows : rows, length_of(y.shape[0], thread));
}

}  // namespace engine::cpu
