// What one thread needs to run a step: which part of each loop it has, and where the operands are.
#pragma once
#include <optional>

#include "cpu/schedule.h"
#include "cpu/thread_pool.h"
#include "kernels/table.h"

namespace engine::cpu {

/// A batch of a run.
struct Batch {
  int64_t index;
  int64_t first;  // its first sample within the pass
  int64_t rows;   // samples
};

inline bool empty(Range range) { return range.begin >= range.end; }

/// The weights from `offset` on, with their optimizer state.
Weights shifted(Weights w, int64_t offset);

/// What a step may use while one thread runs its part. There is one for each thread of a run; the device tells it
/// which step and which batch it is about.
class ThreadContext {
 public:
  ThreadContext(const KernelTable& kernels, const Schedule& schedule, const RunArguments& run, const Worker& worker)
      : kernels(kernels), schedule(schedule), run(run), worker(worker) {}

  const KernelTable& kernels;
  const Schedule& schedule;
  const RunArguments& run;
  const Worker& worker;
  Batch batch{};

  /// The rows of arrays that steps done in tiles are about; none at all where steps are not.
  Range tile{};

  void begin(const Step& step, const Batch& of) {
    split_ = step.split;
    batch = of;
  }

  // ---- Which part of a loop belongs to this thread --------------------------------------------------------------
  /// This thread's part of a loop, or all of it if the step shares another loop.
  Range range(Loop loop, int64_t extent) const {
    if (!split_.shares(loop)) return {0, extent};
    return empty(tile) ? worker.slice(extent) : tile;
  }
  /// The same, up to the end of its last cache line.
  Range padded(Loop loop, int64_t extent) const {
    const Range own = range(loop, extent);
    return {own.begin, empty(own) ? own.begin : round_up(own.end, kLineFloats)};
  }
  Range samples() const { return range(kSamples, batch.rows); }
  /// This thread's samples as rows of a value.
  Range own_rows(ValueId value) const {
    const Range own = samples();
    const int64_t groups = schedule.placement(value).groups;
    return {own.begin * groups, own.end * groups};
  }
  /// Rows of a value in this batch.
  int64_t batch_rows(ValueId value) const { return batch.rows * schedule.placement(value).groups; }
  /// This thread's padded columns of a value, for loop `n`.
  Range columns(ValueId value) const { return padded('n', schedule.placement(value).columns); }

  // ---- Where operands lie ---------------------------------------------------------------------------------------
  const Placement& placement(ValueId value) const { return schedule.placement(value); }
  /// Scratch of the run: this thread's copy where there are several; the numbers of a constant or of an argument, which
  /// nobody may change; the memory of a result; null for kNoValue.
  float* data(ValueId value) const {
    if (value == kNoValue) return nullptr;
    const Placement& place = placement(value);
    if (place.numbers) return place.numbers;
    if (place.argument >= 0) return static_cast<float*>(const_cast<void*>(run.arguments[place.argument].data));
    if (place.result >= 0) return run.results[place.result];
    float* const at = run.scratch + place.offset + (place.copied ? worker.index * schedule.copy_stride() : 0);
    if (place.floats_of_row > 0) return at - tile.begin * place.floats_of_row;
    return at + (place.double_buffered ? batch.index % 2 * (place.rows / 2) * place.ld : 0);
  }
  int variable_of(ValueId value) const { return schedule.value(value).variable; }
  const Variable& variable(ValueId value) const { return schedule.graph().variables()[variable_of(value)]; }
  /// Where the optimizer's state of a variable lies in each arena of it.
  int64_t state_offset(ValueId variable) const { return run.state.offsets[variable_of(variable)]; }
  /// A variable with its optimizer state and its l2 penalty; empty for kNoValue.
  Weights weights(ValueId variable) const;
  /// A row of numbers, those of a variable or constants; null for kNoValue.
  const float* row(ValueId value) const;

  /// Arguments of a kernel that works on the elements of x and y, and of `saved` if there is one.
  ElementwiseArgs elementwise(ValueId x, ValueId y, ValueId saved = kNoValue) const {
    return {data(x), data(y), data(saved), placement(y).ld, own_rows(y), columns(y)};
  }
  /// The rows that a mask keeps; all of them for kNoValue.
  RowMask row_mask(ValueId mask) const;

  /// Calls f(panel, rows) for this thread's share of an array that is laid out like a variable (loops k and n).
  template <class F>
  void for_panels(const Variable& v, F&& f) const {
    const Range rows = range('k', v.rows);
    Panels(v.rows, v.columns).each(padded('n', v.columns), [&](const Panel& panel) { f(panel, rows); });
  }

  // ---- The batch and the training --------------------------------------------------------------------------------
  const LossSpec& loss(int output) const { return run.training->losses[static_cast<size_t>(output)]; }
  const OptimizerSpec& optimizer() const { return run.training->optimizer; }
  const TargetView& target_view(int output) const { return run.data.targets[static_cast<size_t>(output)]; }
  Targets targets(int output, int64_t groups) const;
  /// What the sum of an output's losses is divided by, as its reduction says; may be 0.
  double loss_divisor(int output, int64_t groups, ValueId mask) const;
  /// What a row of an output counts for: its mask times its sample weight.
  double row_weight(int output, int64_t groups, ValueId mask, int64_t row) const;
  /// The factor of penalties on weights.
  double penalty_factor() const;

  int64_t iteration() const { return run.first_iteration + batch.index - run.first_batch; }
  /// Numbers the samples of random draws. Within a training, a batch is numbered by its iteration. A prediction is cut
  /// into batches as threads take them, so that its draws are numbered by sample of the whole call.
  struct Draw {
    uint64_t step;
    int64_t first;
  };
  Draw draw(int64_t groups) const;

  /// The optimizer's step of this batch. Its constants are computed by the first who asks, as they take as long as a
  /// small layer.
  const OptimizerStep& optimizer_step() const;
  /// Whether the optimizer steps after this batch: it may accumulate the gradients of several.
  bool steps_weights() const { return iteration() % optimizer().accumulate == 0; }

 private:
  Split split_;
  mutable int64_t stepped_ = -1;  // the batch that `step_` is for
  mutable OptimizerStep step_{};
  alignas(64) mutable unsigned char coefficients_[kCoefficientBytes];
};

}  // namespace engine::cpu
