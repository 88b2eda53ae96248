// Where arrays come from and where they go: variables, gradients and slots of optimizers, constants, targets, arguments
// and results of functions, random numbers, the number and the learning rate of a step.
#include "graph/operations/array_sources.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/panels.h"
#include "cpu/strides.h"
#include "graph/operations/function.h"
#include "graph/operations/optimizer.h"

namespace engine::cpu {
namespace {

// ---- Variables --------------------------------------------------------------------------------------------------

/// Calls f(offset in panels, position, count) for runs of a variable that lie side by side both in its panels and in
/// row-major order, where the first number of the run is number `position`. Together they are this thread's share: some
/// of the rows of a matrix, or some of the columns of a single row.
template <class F>
void for_own_runs(const ThreadContext& thread, const Variable& v, F&& f) {
  const bool is_row = v.rows == 1;
  const Range rows = is_row ? Range{0, 1} : thread.range(kAnyRows, v.rows);
  const Range columns = is_row ? thread.range(kAnyRows, v.columns) : Range{0, v.columns};
  if (empty(columns)) return;
  Panels(v.rows, v.columns).each(columns, [&](const Panel& panel) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      f(panel.offset + i * panel.width + panel.columns.begin, i * v.columns + panel.first + panel.columns.begin,
        panel.columns.end - panel.columns.begin);
    }
  });
}

void copy_numbers(float* to, const float* from, int64_t count) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

/// The numbers of an array in row-major order. They lie side by side, but for the gaps between the rows of a batch.
class FlatArray {
 public:
  FlatArray(const graph::Array& array, const ThreadContext& thread) : data_(strided(array, thread).data) {
    const graph::Value& value = thread.schedule.value(array.value);
    if (value.kind != graph::Value::Kind::kBatch) return;
    columns_ = value.columns;
    ld_ = thread.placement(array.value).ld;
  }

  /// Calls f(data, first, run) for each run that lies side by side among the `count` numbers from number `position` on:
  /// `run` numbers from number position + first on, at `data`.
  template <class F>
  void each(int64_t position, int64_t count, F&& f) const {
    for (int64_t first = 0, run; first < count; first += run) {
      const int64_t row = (position + first) / columns_, column = (position + first) % columns_;
      run = std::min(count - first, columns_ - column);
      f(data_ + row * ld_ + column, first, run);
    }
  }

 private:
  float* data_;
  int64_t columns_ = std::numeric_limits<int64_t>::max(), ld_ = 0;
};

/// Copies this thread's share of a variable, which lies in panels, to an array.
void copy_from_panels(const float* panels, const Variable& v, const graph::Array& y, const ThreadContext& thread) {
  const FlatArray to(y, thread);
  for_own_runs(thread, v, [&](int64_t offset, int64_t position, int64_t count) {
    to.each(position, count,
            [&](float* at, int64_t first, int64_t run) { copy_numbers(at, panels + offset + first, run); });
  });
}

void copy_to_panels(const graph::Array& x, const Variable& v, float* panels, const ThreadContext& thread) {
  const FlatArray from(x, thread);
  for_own_runs(thread, v, [&](int64_t offset, int64_t position, int64_t count) {
    from.each(position, count,
              [&](const float* at, int64_t first, int64_t run) { copy_numbers(panels + offset + first, at, run); });
  });
}

void read_variable(const graph::ReadVariable& op, const ThreadContext& thread) {
  copy_from_panels(thread.weights(op.variable).values, thread.variable(op.variable), op.y, thread);
}

void read_gradient(const graph::ReadGradient& op, const ThreadContext& thread) {
  copy_from_panels(thread.data(op.gradient), thread.variable(op.gradient), op.y, thread);
}

void assign_variable(const graph::AssignVariable& op, const ThreadContext& thread) {
  copy_to_panels(op.x, thread.variable(op.variable), thread.weights(op.variable).values, thread);
}

void store_gradient(const graph::StoreGradient& op, const ThreadContext& thread) {
  copy_to_panels(op.x, thread.variable(op.gradient), thread.data(op.gradient), thread);
}

// ---- The optimizer ------------------------------------------------------------------------------------------------

void read_step(const graph::ReadStep& op, const ThreadContext& thread) {
  using Number = graph::ReadStep::Number;
  if (empty(own_rows(thread, op.y, kWhole))) return;
  const OptimizerStep& step = thread.optimizer_step();
  *strided(op.y, thread).data =
      op.number == Number::kLearningRate ? static_cast<float>(step.learning_rate) : static_cast<float>(step.iteration);
}

/// Calls f(at, offset, count) for runs of this thread's share of an array that has the axes of a variable, though
/// perhaps fewer elements along them: the numbers at `at` belong to those from `offset` on in the variable's panels.
template <class F>
void for_slot_runs(const graph::Array& array, const Variable& v, const ThreadContext& thread, F&& f) {
  Strided all = strided(array, thread), of_variable = all;
  int64_t below = 1;  // elements of the variable below an axis
  for (size_t i = v.shape.size(); i-- > 0; below *= v.shape[i]) of_variable.stride[i] = below;
  const Range own = own_rows(thread, array, kWhole);
  const int64_t begin = own.begin * of_variable.stride[0];
  all.restrict_to(0, own);
  const int last = all.last();
  const int64_t runs = all.numbers() / std::max<int64_t>(all.length[last], 1);
  for (int64_t r = 0; r < runs; ++r) {
    int64_t position = begin, from = 0;
    for (int64_t i = last, rest = r; i-- > 0; rest /= all.length[i]) {
      position += rest % all.length[i] * of_variable.stride[i];
      from += rest % all.length[i] * all.stride[i];
    }
    const int64_t row = position / v.columns, column = position % v.columns;
    Panels(v.rows, v.columns).each({column, column + all.length[last]}, [&](const Panel& panel) {
      f(all.data + from + panel.first + panel.columns.begin - column,
        panel.offset + row * panel.width + panel.columns.begin, panel.columns.end - panel.columns.begin);
    });
  }
}

void read_slot(const graph::ReadSlot& op, const ThreadContext& thread) {
  const float* slot = thread.weights(op.weights).slots[op.slot];
  for_slot_runs(op.y, thread.variable(op.weights), thread,
                [&](float* at, int64_t offset, int64_t count) { copy_numbers(at, slot + offset, count); });
}

void store_slot(const graph::StoreSlot& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  float* slot = thread.weights(op.weights).slots[op.slot];
  for_slot_runs(op.x, thread.variable(op.weights), thread,
                [&](const float* at, int64_t offset, int64_t count) { copy_numbers(slot + offset, at, count); });
}

// ---- How threads divide these ---------------------------------------------------------------------------------------

template <class Op>
Split split_read(const Scheduler& scheduler, const Op& op) {
  return split_array(scheduler, op, op.y, kWhole);
}

/// There is one gradient, variable or result for all threads, so that only one of them writes it if they don't share
/// it.
template <class Op>
Split split_store(const Scheduler& scheduler, const Op& op) {
  const Split split = split_array(scheduler, op, op.x, kWhole);
  return split.is_every_thread() ? Split::one_thread() : split;
}

// ---- Constants, targets, arguments and results ------------------------------------------------------------------

void schedule_constants(Scheduler& scheduler, const graph::ConstantArray& op) {
  scheduler.set_numbers(op.y.value, *op.numbers);
}

void read_target(const graph::ReadTarget& op, const ThreadContext& thread) {
  const TargetView& view = thread.target_view(op.output);
  const int64_t batch = thread.schedule.graph().batch;
  const int64_t count = graph::elements_per_sample(op.y.shape, batch);
  const FlatArray to(op.y, thread);
  const Range own = thread.samples();
  for (int64_t b = own.begin; b < own.end; ++b) {
    const int64_t sample = thread.batch.first + b;
    const int64_t from = (thread.run.order ? thread.run.order[sample] : sample) * count;
    to.each(b * count, count, [&](float* at, int64_t first, int64_t run) {
      if (view.dense) return copy_numbers(at, view.dense + from + first, run);
      for (int64_t i = 0; i < run; ++i) at[i] = static_cast<float>(view.labels[from + first + i]);
    });
  }
}

void schedule_target(Scheduler& scheduler, const graph::ReadTarget& op) {
  scheduler.add<SimpleStep<graph::ReadTarget>>(op, Split::over(kSamples), read_target);
}

/// Copies `count` numbers of an argument, from number `first` on, as floats.
void copy_argument(const ArgumentView& argument, int64_t first, int64_t count, float* to) {
  const auto convert = [&](const auto* from) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[first + i]);
  };
  switch (argument.type) {
    case RowType::kUint8:
      return convert(static_cast<const uint8_t*>(argument.data));
    case RowType::kFloat32:
      return copy_numbers(to, static_cast<const float*>(argument.data) + first, count);
    case RowType::kFloat64:
      return convert(static_cast<const double*>(argument.data));
  }
}

void read_argument(const graph::ReadArgument& op, const ThreadContext& thread) {
  const ArgumentView& argument = thread.run.arguments[op.index];
  const int64_t rows = op.y.shape.empty() ? 1 : length_of(op.y.shape[0], thread);
  if (rows == 0) return;
  const int64_t columns = graph::element_count(op.y.shape, thread.batch.rows) / rows;
  const Range own = own_rows(thread, op.y, kWhole);
  const FlatArray to(op.y, thread);
  const auto copy = [&](int64_t from, int64_t row, int64_t count) {  // `count` rows, from row `from` to row `row`
    to.each(row * columns, count * columns,
            [&](float* at, int64_t first, int64_t run) { copy_argument(argument, from * columns + first, run, at); });
  };
  if (!argument.rows) return copy(own.begin, own.begin, own.end - own.begin);
  for (int64_t row = own.begin; row < own.end; ++row) copy(argument.rows[row], row, 1);
}

void write_result(const graph::WriteResult& op, const ThreadContext& thread) {
  Strided x = strided(op.x, thread);
  Strided to = x;
  to.data = thread.run.results[op.index];
  set_contiguous(to);
  const Range own = own_rows(thread, op.x, kWhole);
  x.restrict_to(0, own);
  to.restrict_to(0, own);
  copy_elements(thread.kernels, x, to);
}

void schedule_argument(Scheduler& scheduler, const graph::ReadArgument& op) {
  if (scheduler.place_in_argument(op.y.value, op.index)) return;
  scheduler.add<SimpleStep<graph::ReadArgument>>(op, split_array(scheduler, op, op.y, kWhole), read_argument);
}

void schedule_result(Scheduler& scheduler, const graph::WriteResult& op) {
  if (scheduler.place_in_result(op.x.value, op.index)) return;
  scheduler.add<SimpleStep<graph::WriteResult>>(op, split_store(scheduler, op), write_result);
}

// ---- Random numbers ---------------------------------------------------------------------------------------------

/// The random numbers of one stream, from number `first` on. They are drawn in blocks.
class RandomSequence {
 public:
  RandomSequence(const graph::RandomArray& op, const ThreadContext& thread, uint64_t step, int64_t first)
      : numbers_{buffer_, first / kGroup * kGroup,        kCount, op.seed, step, op.low,
                 op.high, std::nextafter(op.high, op.low)},
        used_(first - numbers_.first) {
    using Distribution = graph::RandomArray::Distribution;
    kernel_ = op.distribution == Distribution::kUniform  ? thread.kernels.uniform_numbers
              : op.distribution == Distribution::kNormal ? thread.kernels.normal_numbers
                                                         : thread.kernels.truncated_normal_numbers;
    kernel_(numbers_);
  }
  float next() {
    if (used_ == kCount) {
      numbers_.first += kCount;
      used_ = 0;
      kernel_(numbers_);
    }
    return buffer_[used_++];
  }

 private:
  static constexpr int64_t kGroup = kRandomGroup, kCount = 8 * kGroup;

  RandomNumbersArgs numbers_;  // the block in `buffer_`
  int64_t used_;               // numbers of the block that have been returned
  void (*kernel_)(const RandomNumbersArgs&);
  alignas(kLineFloats * sizeof(float)) float buffer_[kCount];
};

/// A training step numbers its random draws from its first sample on. A prediction numbers them from the first sample
/// of the whole call on, as it may be cut into batches in many ways.
void random_array(const graph::RandomArray& op, const ThreadContext& thread) {
  Strided y = strided(op.y, thread);
  const Range own = own_rows(thread, op.y, op.rows);
  y.restrict_to(0, own);
  if (y.is_empty()) return;
  int64_t first = own.begin * y.numbers(1);
  auto step = static_cast<uint64_t>(thread.iteration());
  if (graph::predicts(thread.schedule.mode())) {
    step = static_cast<uint64_t>(thread.run.first_iteration);
    first += thread.batch.first * graph::elements_per_sample(op.y.shape, thread.schedule.graph().batch);
  }
  RandomSequence numbers(op, thread, op.fixed ? 0 : step, first);
  merge_axes(y);
  const int last = y.last();
  for (Walk<1> walk({&y}, last); !walk.done(); walk.next()) {
    for (int64_t i = 0; i < y.length[last]; ++i) walk.data(0)[i * y.stride[last]] = numbers.next();
  }
}

void schedule_random(Scheduler& scheduler, const graph::RandomArray& op) {
  scheduler.add<SimpleStep<graph::RandomArray>>(op, split_array(scheduler, op, op.y, op.rows), random_array);
}

}  // namespace

void add_array_sources(OperationRegistry& all) {
  all.add<graph::ReadVariable>(read_variable, split_read);
  all.add<graph::ReadGradient>(read_gradient, split_read);
  all.add<graph::StoreGradient>(store_gradient, split_store);
  all.add<graph::AssignVariable>(assign_variable, split_store);
  all.add<graph::ReadStep>(read_step, split_read);
  all.add<graph::ReadSlot>(read_slot, split_read);
  all.add<graph::StoreSlot>(store_slot, split_store);
  all.add<graph::ReadArgument>(schedule_argument);
  all.add<graph::WriteResult>(schedule_result);
  all.add<graph::ConstantArray>(schedule_constants);
  all.add<graph::ReadTarget>(schedule_target);
  all.add<graph::RandomArray>(schedule_random);
}

}  // namespace engine::cpu
