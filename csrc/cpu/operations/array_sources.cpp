// Variables, constants, targets and random numbers as arrays, gradients from arrays, and the losses that traced
// functions compute.
#include "graph/operations/variables_as_arrays.h"

#include <cmath>
#include <cstring>

#include "cpu/panels.h"
#include "cpu/strides.h"
#include "formulas/random.h"

namespace engine {
namespace {

// ---- Variables --------------------------------------------------------------------------------------------------

/// Calls f(position in panels, position in rows, numbers) for this thread's share of a variable: of its rows, or of the
/// columns of its only one.
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

void read_variable(const graph::ReadVariable& op, const ThreadContext& thread) {
  const float* const weights = thread.weights(op.variable).values;
  float* const y = thread.data(op.y.value);
  for_own_runs(thread, thread.variable(op.variable),
               [&](int64_t panels, int64_t row, int64_t count) { copy_numbers(y + row, weights + panels, count); });
}

void read_gradient(const graph::ReadGradient& op, const ThreadContext& thread) {
  const float* const gradient = thread.data(op.gradient);
  float* const y = thread.data(op.y.value);
  for_own_runs(thread, thread.variable(op.gradient),
               [&](int64_t panels, int64_t row, int64_t count) { copy_numbers(y + row, gradient + panels, count); });
}

void store_gradient(const graph::StoreGradient& op, const ThreadContext& thread) {
  const float* const x = strided(op.x, thread).data;
  float* const gradient = thread.data(op.gradient);
  for_own_runs(thread, thread.variable(op.gradient),
               [&](int64_t panels, int64_t row, int64_t count) { copy_numbers(gradient + panels, x + row, count); });
}

template <class Op>
Split split_read(const Scheduler& scheduler, const Op& op) {
  return split_array(scheduler, op, op.y, kWhole);
}

/// Not a copy for every thread: a gradient is one for all.
Split split_store(const Scheduler& scheduler, const graph::StoreGradient& op) {
  const Split split = split_array(scheduler, op, op.x, kWhole);
  return split.is_every_thread() ? Split::one_thread() : split;
}

// ---- Constants and targets --------------------------------------------------------------------------------------

void schedule_constants(Scheduler& scheduler, const graph::Constants& op) {
  require_few_axes(op.y);
  scheduler.set_numbers(op.y.value, *op.numbers);
}

void read_target(const graph::ReadTarget& op, const ThreadContext& thread) {
  const TargetView& view = thread.target_view(op.output);
  const int64_t rows = op.y.shape[0].per_sample, count = graph::numbers_per_sample(op.y.shape);
  const Strided y = strided(op.y, thread);
  const Range own = thread.samples();
  for (int64_t b = own.begin; b < own.end; ++b) {
    const int64_t sample = thread.batch.first + b;
    const int64_t first = (thread.run.order ? thread.run.order[sample] : sample) * count;
    Strided to = y;
    to.restrict_to(0, {b * rows, (b + 1) * rows});
    int64_t i = first;
    for (Walk<1> walk({&to}, to.axes); !walk.done(); walk.next(), ++i) {
      *walk.data(0) = view.labels ? static_cast<float>(view.labels[i]) : view.dense[i];
    }
  }
}

void schedule_target(Scheduler& scheduler, const graph::ReadTarget& op) {
  require_few_axes(op.y);
  scheduler.add<SimpleStep<graph::ReadTarget>>(op, Split::over(kSamples), read_target);
}

// ---- Random numbers ---------------------------------------------------------------------------------------------

/// Random numbers of one stream, from any number on.
class Numbers {
 public:
  Numbers(const graph::RandomArray& op, const ThreadContext& thread, uint64_t step, int64_t first)
      : thread_(thread),
        numbers_{buffer_, first / kGroup * kGroup, kCount, op.seed, step, op.low, op.high,
                 std::nextafter(op.high, op.low)},
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
  static constexpr int64_t kGroup = formulas::kWordsPerGroup, kCount = 8 * kGroup;

  const ThreadContext& thread_;
  RandomNumbers numbers_;
  int64_t used_;
  void (*kernel_)(const RandomNumbers&);
  alignas(kLane * sizeof(float)) float buffer_[kCount];
};

/// A prediction is cut into batches as threads take them, so that arrays of samples get the numbers of the whole call.
void random_array(const graph::RandomArray& op, const ThreadContext& thread) {
  Strided y = strided(op.y, thread);
  const Range own = own_rows(thread, op.y, op.rows);
  y.restrict_to(0, own);
  if (y.is_empty()) return;
  int64_t first = own.begin * y.numbers(1);
  auto step = static_cast<uint64_t>(thread.iteration());
  if (graph::predicts(thread.schedule.mode())) {
    step = static_cast<uint64_t>(thread.run.first_iteration);
    if (graph::has_sample_axis(op.y.shape)) first += thread.batch.first * graph::numbers_per_sample(op.y.shape);
  }
  Numbers numbers(op, thread, step, first);
  merge_axes(y);
  const int last = y.last();
  for (Walk<1> walk({&y}, last); !walk.done(); walk.next()) {
    for (int64_t i = 0; i < y.length[last]; ++i) walk.data(0)[i * y.stride[last]] = numbers.next();
  }
}

void schedule_random(Scheduler& scheduler, const graph::RandomArray& op) {
  require_few_axes(op.y);
  scheduler.add<SimpleStep<graph::RandomArray>>(op, split_array(scheduler, op, op.y, op.rows), random_array);
}

// ---- Losses -----------------------------------------------------------------------------------------------------

void traced_loss(const graph::TracedLoss& op, const ThreadContext& thread) {
  const LossSpec& spec = thread.loss(op.output);
  const int64_t groups = thread.shape(op.losses).groups, rows = thread.batch_rows(op.losses);
  const double divisor = thread.loss_divisor(op.output, groups, op.row_mask);
  const double scale = divisor == 0.0 ? 0.0 : static_cast<double>(spec.weight) / divisor;
  const auto weight = [&](int64_t row) { return thread.row_weight(op.output, groups, op.row_mask, row); };
  float* const losses = thread.data(op.losses);
  const Strided values = strided(op.values, thread);
  const bool has_seed = op.seed.value != kNoValue;
  Strided seed = values;
  if (has_seed) seed = strided(op.seed, thread);
  if (!graph::is_single(op.values.shape)) {
    int64_t row = 0;
    for (Walk<2> walk({&values, &seed}, values.axes); !walk.done(); walk.next(), ++row) {
      losses[row] = *walk.data(0);
      if (has_seed) *walk.data(1) = static_cast<float>(scale * weight(row));
    }
    return;
  }
  // One number for the batch. With weights, or as the mean, it is that of each row. A sum without weights has it once.
  const bool once = spec.reduction == Reduction::kSum && op.row_mask == kNoValue &&
                    thread.target_view(op.output).sample_weight == nullptr;
  double weights = 0.0;
  for (int64_t row = 0; row < rows; ++row) {
    losses[row] = once && row > 0 ? 0.0f : *values.data;
    weights += once && row > 0 ? 0.0 : weight(row);
  }
  if (has_seed) *seed.data = static_cast<float>(scale * weights);
}

void traced_penalty(const graph::TracedPenalty& op, const ThreadContext& thread) {
  std::fill_n(thread.data(op.losses), thread.batch_rows(op.losses), *strided(op.value, thread).data);
}

}  // namespace

void add_array_sources(Implementations& all) {
  all.add<graph::ReadVariable>(read_variable, split_read);
  all.add<graph::ReadGradient>(read_gradient, split_read);
  all.add<graph::StoreGradient>(store_gradient, split_store);
  all.add<graph::Constants>(schedule_constants);
  all.add<graph::ReadTarget>(schedule_target);
  all.add<graph::RandomArray>(schedule_random);
  all.add<graph::TracedLoss>(traced_loss, by_first_thread);
  all.add<graph::TracedPenalty>(traced_penalty, by_first_thread);
}

}  // namespace engine
