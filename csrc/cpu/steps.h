// One thread's share of one step: from the plan's buffers to a kernel's arguments.
#pragma once
#include <optional>

#include "cpu/metrics.h"
#include "cpu/thread_pool.h"
#include "kernels/layer_table.h"
#include "plan/executor.h"

namespace engine {

/// A batch of a run.
struct Batch {
  int64_t index;
  int64_t first;  // its first sample within the pass
  int64_t rows;
};

/// What a kernel may take from a range: nothing, if it is empty.
inline bool empty(Range range) { return range.begin >= range.end; }

/// The weights from `offset` on.
inline Weights shifted(Weights w, int64_t offset) {
  if (!w.values) return w;
  w.values += offset;
  for (float*& slot : w.slots) slot = slot ? slot + offset : nullptr;
  return w;
}

class StepRunner {
 public:
  StepRunner(const KernelTable& kernels, const Plan& plan, const Frame& frame, const Worker& worker)
      : kernels_(kernels), plan_(plan), frame_(frame), worker_(worker) {}

  void run(const Step& step, const Batch& batch) const;

 private:
  void gather(const Step& step, const Batch& batch) const;
  CompressedBatch compressed(const Batch& batch) const;
  void prefetch_targets(const Batch& batch) const;
  void point(const Step& step, const Batch& batch) const;
  /// Whether the batch is in `nonzeros` now, and no floats need to be gathered.
  bool find_nonzeros(const Step& step, const Batch& batch, const NonZeros& nonzeros) const;
  void record(const Step& step, const Batch& batch) const;
  void dense_forward(const Step& step, const Batch& batch) const;
  void activation(const Step& step, const Batch& batch) const;
  void row_activation(const Step& step, const Batch& batch) const;
  void partial_products(const Step& step, const Batch& batch) const;
  void sum_partials(const Step& step, const Batch& batch) const;
  void dropout(const Step& step, const Batch& batch) const;
  void loss(const Step& step, const Batch& batch) const;
  void metric(const Step& step, const Batch& batch) const;
  void tally(const Step& step, const Batch& batch) const;
  bool owns_metric(int index) const;
  Judged judged(int y_pred, const Batch& batch) const;
  void penalty(const Step& step, const Batch& batch) const;
  void activity_penalty(const Step& step, const Batch& batch) const;
  void activity_gradient(const Step& step, const Batch& batch) const;
  void unit_rows(const Step& step) const;
  void orthogonal(const Step& step) const;
  void slope_gradient(const Step& step, const Batch& batch) const;
  double penalties(const Batch& batch) const;
  double activity_penalties(const Batch& batch) const;
  void reduce(const Batch& batch) const;
  void reduce_losses(const Batch& batch) const;
  void transpose(const Step& step, const Batch& batch) const;
  void dense_backward_input(const Step& step, const Batch& batch) const;
  void dense_backward_weights(const Step& step, const Batch& batch) const;
  void reshape(const Step& step, const Batch& batch) const;
  void take(const Step& step, const Batch& batch) const;
  void add_gradient(const Step& step) const;
  void penalty_gradient(const Step& step, const Batch& batch) const;
  void accumulate(const Step& step, const Batch& batch) const;
  void squares(const Step& step, const Batch& batch) const;
  void scale(const Step& step, const Batch& batch) const;
  void step_weights(const Step& step, const Batch& batch) const;
  void factored_means(const Step& step, const Batch& batch) const;
  void factored_direction(const Step& step, const Batch& batch) const;
  void factored_flat(const Step& step, const Batch& batch) const;
  void move(const Step& step, const Batch& batch) const;
  void load_direction(const Step& step, const Batch& batch) const;
  void gram(const Step& step, const Batch& batch) const;
  void quintic(const Step& step, const Batch& batch) const;
  void turn_direction(const Step& step, const Batch& batch) const;
  void store_direction(const Step& step, const Batch& batch) const;
  void average(const Step& step, const Batch& batch) const;
  void noise(const Step& step, const Batch& batch) const;
  void column_statistics(const Step& step, const Batch& batch) const;
  void corrections(const Step& step) const;
  void moving_average(const Step& step) const;
  void standardize_columns(const Step& step, const Batch& batch) const;
  void standardize_rows(const Step& step, const Batch& batch) const;
  void learned_columns(const Step& step, const Batch& batch) const;
  void embed(const Step& step, const Batch& batch) const;
  void embed_backward(const Step& step, const Batch& batch) const;
  void encode(const Step& step, const Batch& batch) const;
  void mask(const Step& step, const Batch& batch) const;
  void max_rows(const Step& step, const Batch& batch) const;
  void weigh_rows(const Step& step, const Batch& batch) const;
  void warp(const Step& step, const Batch& batch) const;
  void constrain(const Step& step) const;
  void store_output(const Step& step, const Batch& batch) const;

  const Buffer& shape(int buffer) const { return plan_.buffers[static_cast<size_t>(buffer)]; }
  /// This thread's copy, where there are several; null for no buffer.
  float* data(int buffer) const {
    if (buffer < 0) return nullptr;
    return frame_.arena + shape(buffer).offset + (shape(buffer).copied ? worker_.index * plan_.copy_stride : 0);
  }
  /// Of a buffer that alternates the half that is the batch's, so that nobody overwrites what another thread still
  /// reads.
  float* data(int buffer, const Batch& batch) const {
    const Buffer& of = shape(buffer);
    return data(buffer) + (of.alternates ? batch.index % 2 * (of.rows / 2) * of.ld : 0);
  }
  const Variable& variable(int v) const { return frame_.parameters->variables[static_cast<size_t>(v)]; }
  Weights weights(int v) const;
  /// Where the gradient of a variable is stored, or the one apart; null for none.
  float* gradient(int v, bool apart = false) const {
    return v < 0 ? nullptr : frame_.arena + shape(apart ? plan_.apart : plan_.gradients).offset + variable(v).offset;
  }
  /// Calls f(panel, rows) for this thread's share of a variable.
  template <class F>
  void for_weights(const Step& step, F&& f) const;
  WeightBlock block(const Step& step, float* other, const Panel& panel, Range rows) const;
  /// The batch's: made by the first who asks, as its constants take as long as a small layer.
  const OptimizerStep& optimizer_step(const Batch& batch) const;
  /// By which a variable's gradient becomes a step.
  Optimizer rule(int v) const;
  /// Whether the optimizer steps after this batch.
  bool steps_weights(const Batch& batch) const;
  const LayerSpec& layer(const Step& step) const { return frame_.model->layers[static_cast<size_t>(step.index)]; }
  /// Row `v` (columns,) of the weights, or for none what the layer has instead; null if that is nothing.
  const float* vector(int v, const std::vector<float>& constants) const;
  /// Of a buffer (samples, rows of each), or none.
  CountedRows counted_rows(int buffer) const;
  /// Of the squares of a learning variable's gradient, or of itself.
  double squared_norm(size_t learning, bool of_weights) const;
  double row_mean(int v) const;
  double scaling(Scaling scaling, size_t learning, const OptimizerStep& at) const;
  /// This thread's, where the step has them.
  std::optional<NonZeros> nonzeros(const Step& step) const;
  /// Left operand of a product: floats, `ld` apart, or rows anywhere.
  struct Input {
    const float* floats;
    int64_t ld;
    const float* const* rows;
  };
  Input input(const Step& step, const Batch& batch) const;
  void forward_in_blocks(const Step& step, Range rows, Range units, const Input& x) const;
  void input_gradient_in_blocks(const Step& step, int64_t rows, Range units) const;
  /// The gradient by at most kGradientRows units and kBlockColumns columns of a kernel, its rows kGradientStride apart.
  const float* kernel_gradient_block(const Step& step, const DenseBackwardWeights& op, Range units,
                                     Range columns) const;
  /// Whether the product of a step reads rows where they lie in the data set.
  bool in_place(const Step& step) const;
  /// What to fetch during the gradient of the first layer; nothing where it would not fit.
  Ahead next_rows(const Step& step, const Batch& batch) const;
  /// What to fetch during the product of `rows` where the batch was too large for that, and its rows are short.
  Ahead rows_ahead(const Step& step, const Batch& batch, Range rows) const;
  Targets targets(const Batch& batch) const;
  /// Rows that losses and metrics look at.
  int64_t output_rows(const Batch& batch) const;
  Counted counted() const;
  double row_weight(const Batch& batch, int64_t b) const;
  /// What the sum of the batch's losses is divided by, as the reduction wants it; may be 0.
  double loss_divisor(const Batch& batch) const;
  /// What penalties on weights are multiplied by.
  double penalty_factor(const Batch& batch) const;
  /// This thread's samples, or all of them where the step is split the other way.
  Range samples(const Step& step, const Batch& batch) const;
  /// The same as rows of a buffer.
  Range rows(const Step& step, const Batch& batch, const Buffer& buffer) const;
  /// This thread's padded columns of `columns`, or all of them.
  Range columns(const Step& step, int64_t columns) const;
  Elementwise elementwise(const Step& step, const Batch& batch) const;
  int64_t iteration(const Batch& batch) const { return frame_.first_iteration + batch.index - frame_.first_batch; }

  const KernelTable& kernels_;
  const Plan& plan_;
  const Frame& frame_;
  const Worker& worker_;
  mutable int64_t stepped_ = -1;  // the batch of the step
  mutable OptimizerStep step_{};
  alignas(64) mutable unsigned char coefficients_[kCoefficientBytes];
};

template <class F>
void StepRunner::for_weights(const Step& step, F&& f) const {
  const Variable& v = variable(step.kernel);
  if (step.split == Split::kNone && worker_.index != 0) return;
  const Range rows = step.split == Split::kInputs ? worker_.slice(v.rows) : Range{0, v.rows};
  Panels(v.rows, v.columns).each(columns(step, v.columns), [&](const Panel& panel) { f(panel, rows); });
}

}  // namespace engine
