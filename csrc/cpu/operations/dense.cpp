// Products of dense layers with their kernels, forwards and backwards. Which kernel computes a product is chosen by
// cpu/kernel_choice.h, for the largest batch. A step falls back to kPanels for a batch of few rows, or of many zeros.
#include "graph/operations/dense.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>

#include "cpu/gemm.h"
#include "cpu/kernel_choice.h"
#include "cpu/operations/input_output.h"
#include "cpu/thresholds.h"
#include "graph/operations/loss.h"
#include "kernels/packed_blocks.h"
#include "kernels/table.h"

namespace engine::cpu {
namespace {

template <class F>
void for_blocks(Range range, int64_t size, F&& f) {
  for (int64_t i = range.begin; i < range.end; i += size) f(Range{i, std::min(i + size, range.end)});
}

/// c (m, n) of a product whose operands are still missing; rows of c are `ld` apart.
Product product_into(float* c, int64_t ld, int64_t m, int64_t n, int64_t k) {
  Product product{};
  product.m = m;
  product.n = n;
  product.k = k;
  product.c = c;
  product.c_row = ld;
  product.c_column = 1;
  return product;
}

/// In which form a product gets x.
struct InputForm {
  const ReadInputStep* read = nullptr;            // x are rows of the data set
  const RecordNonzerosStep* recording = nullptr;  // what is not zero in x has been recorded

  InputForm(const Scheduler& scheduler, ValueId x) : recording(scheduler.recording(x)) {
    const ReadInputStep* const input = scheduler.input_step(x);
    if (input && (input->feeds_products_alone || input->leaves_compressed)) read = input;
  }

  bool is_compressed() const { return read && read->leaves_compressed; }
  DenseInput input(const ThreadContext& thread, ValueId x) const {
    return read ? read->input(thread) : DenseInput{thread.data(x), thread.placement(x).ld, nullptr};
  }
  std::optional<NonZeros> nonzeros(const ThreadContext& thread) const {
    return recording ? recording->nonzeros_of(thread) : read ? read->nonzeros_of(thread) : std::nullopt;
  }
  /// Where the transpose of what is not zero lies; null where zeros are not skipped.
  const NonZerosScratch* scratch() const {
    return recording ? &recording->nonzeros() : read && read->nonzeros ? &*read->nonzeros : nullptr;
  }
  CompressedBatch compressed(const ThreadContext& thread) const {
    return is_compressed() ? read->compressed(thread) : CompressedBatch{};
  }
  /// Says what a step that reads x in this form touches.
  void declare(Step& step, ValueId x) const {
    if (is_compressed()) step.forget(x);
    if (recording) step.operands.push_back(graph::reads(recording->records(), kWhole, kWhole));
  }
};

/// Where threads share the inputs (k), the bias and its gradient belong to the thread that has the first input, as if
/// they were a row of the kernel. So they need no barrier.
void give_to_first_input(Step& step, ValueId bias) {
  if (!step.split.shares('k')) return;
  for (Operand& operand : step.operands) {
    if (operand.value == bias) operand.rows = 'k';
  }
}

std::string name_of(DenseKernel kernel) {
  switch (kernel) {
    case DenseKernel::kPanels:
      return "panels";
    case DenseKernel::kPackedBlocks:
      return "packed blocks";
    case DenseKernel::kCompressedRows:
      return "compressed rows";
  }
  return "";
}

/// What the name of a kernel ends in where batches with many zeros take sparse_products.h instead.
std::string skips_zeros(const InputForm& form) { return form.scratch() ? "; skip zeros" : ""; }

// ---- Forwards -----------------------------------------------------------------------------------------------------

class DenseStep final : public Step {
 public:
  DenseStep(const graph::Dense& operation, Split split, DenseKernel kernel, const InputForm& form, ValueId packing)
      : Step(&operation, split),
        own_(operation),
        kernel_(kernel),
        form_(form),
        fills_(form.scratch() && form.scratch()->is_filled_by(operation)),
        packing_(packing) {
    form.declare(*this, operation.x);
  }

  std::string kernel() const override { return name_of(kernel_) + skips_zeros(form_); }

  void run(const ThreadContext& thread) const override {
    const Range own = thread.own_rows(own_.y);
    if (empty(own)) return;
    const DenseInput x = form_.input(thread, own_.x);
    const auto zeros = form_.nonzeros(thread);
    const bool skips_zeros = zeros && zeros->found();
    assert(!skips_zeros || !fills_ || form_.scratch()->is_cleared(thread));
    if (kernel_ == DenseKernel::kPackedBlocks && own.end - own.begin >= kFewestPackedRows && x.floats && !skips_zeros) {
      return run_packed(thread, own, x);
    }
    run_panels(thread, own, x, zeros ? &*zeros : nullptr);
  }

 private:
  void run_panels(const ThreadContext& thread, Range own, const DenseInput& x, const NonZeros* zeros) const {
    const Variable& kernel = thread.variable(own_.kernel);
    const float *weights = thread.weights(own_.kernel).values, *bias = thread.weights(own_.bias).values;
    const CompressedBatch elements = form_.compressed(thread);
    DenseForwardArgs op{};
    op.x = x.floats;
    op.ldx = x.ld;
    op.x_rows = x.rows;
    op.ldy = thread.placement(own_.y).ld;
    op.k = kernel.rows;
    op.nonzeros = zeros;
    op.in_slices = sums_in_slices(kernel.columns);
    op.compressed = form_.is_compressed() ? &elements : nullptr;
    for_blocks(own, kRowsInCache, [&](Range together) {
      op.rows = together;
      op.stores_transpose = fills_;
      op.prefetch = form_.read ? form_.read->rows_ahead(thread, together) : RowsToPrefetch{};
      Panels(kernel.rows, kernel.columns).each(thread.columns(own_.y), [&](const Panel& panel) {
        op.kernel = weights + panel.offset;
        op.ldw = panel.width;
        op.bias = bias ? bias + panel.first : nullptr;
        op.y = thread.data(own_.y) + panel.first;
        op.columns = panel.columns;
        thread.kernels.dense_forward[index(own_.activation)](op);
        op.stores_transpose = false;
        op.prefetch = {};
      });
    });
  }

  void run_packed(const ThreadContext& thread, Range rows, const DenseInput& x) const {
    const Variable& kernel = thread.variable(own_.kernel);
    const int64_t m = rows.end - rows.begin, ld = thread.placement(own_.y).ld;
    const Range units = thread.columns(own_.y);
    float* y = thread.data(own_.y) + rows.begin * ld + units.begin;
    Product product = product_into(y, ld, m, round_up(kernel.columns, kLineFloats), kernel.rows);
    product.a = x.floats + rows.begin * x.ld;
    product.a_row = x.ld;
    product.a_column = 1;
    product.b = thread.weights(own_.kernel).values;
    product.b_layout = Layout::kPanels;
    product.bias = thread.weights(own_.bias).values;
    product.activation = own_.activation;
    multiply_part(thread.kernels, product, {0, m}, units, thread.data(packing_));
  }

  const graph::Dense& own_;
  DenseKernel kernel_;
  InputForm form_;
  bool fills_;  // the transpose of what is not zero in x
  ValueId packing_;
};

/// Calls f(group) for the largest groups that slices [begin, end) are made of.
template <class F>
void for_groups(int64_t begin, int64_t end, F&& f) {
  while (begin < end) {
    int level = 0;
    while ((begin >> level) % 2 == 0 && begin + (int64_t{2} << level) <= end) ++level;
    f(SliceGroup{begin, level});
    begin += int64_t{1} << level;
  }
}

/// The same for the slices of a worker's inputs.
template <class F>
void for_groups(const Worker& worker, int64_t inputs, F&& f) {
  const Range own = worker.slice(inputs);
  for_groups(own.begin / kSlice, divide_up(own.end, kSlice), f);
}

/// Each thread multiplies the inputs that it has computed itself. Then only the sums, at most 16 for each row, travel
/// from core to core, and not the inputs.
class PartialProductsStep final : public Step {
 public:
  PartialProductsStep(const graph::Dense& operation, ValueId partials)
      : Step(&operation, Split::over('k')), own_(operation), partials_(partials) {
    forget(operation.y);
    operands.push_back(graph::writes(partials, 'k', kWhole));
    give_to_first_input(*this, operation.bias);
  }

  std::string kernel() const override { return "partial products"; }

  void run(const ThreadContext& thread) const override {
    const Variable& kernel = thread.variable(own_.kernel);
    const float *weights = thread.weights(own_.kernel).values, *bias = thread.weights(own_.bias).values;
    for_groups(thread.worker, kernel.rows, [&](const SliceGroup& group) {
      const int64_t begin = group.first * kSlice, most = kSlice << group.level;
      DenseForwardArgs op{};
      op.x = thread.data(own_.x) + begin;
      op.ldx = thread.placement(own_.x).ld;
      op.ldw = kLineFloats;
      op.kernel = weights + begin * op.ldw;
      op.bias = begin == 0 ? bias : nullptr;
      op.y = thread.data(partials_) + group.first * thread.placement(partials_).ld;
      op.ldy = kLineFloats;
      op.k = std::min(kernel.rows - begin, most);
      op.rows = {0, thread.batch.rows};
      op.columns = {0, kLineFloats};
      op.in_slices = true;
      thread.kernels.dense_forward[index(Activation::kLinear)](op);
    });
  }

 private:
  const graph::Dense& own_;
  ValueId partials_;
};

/// Adds the sums of all threads, in the order of the slices.
class SumPartialsStep final : public Step {
 public:
  SumPartialsStep(const graph::Dense& operation, Split split, ValueId partials)
      : Step(&operation, split), own_(operation), partials_(partials) {
    operands = {graph::writes(operation.y, kSamples, 'n'), graph::reads(partials, kWhole, kWhole)};
  }

  std::string kernel() const override { return "sum of partial products"; }

  void run(const ThreadContext& thread) const override {
    std::array<SliceGroup, kMaxSlices> groups;
    size_t count = 0;
    for (int i = 0; i < thread.worker.threads; ++i) {
      for_groups({i, thread.worker.threads, nullptr}, thread.variable(own_.kernel).rows,
                 [&](const SliceGroup& group) { groups[count++] = group; });
    }
    const Placement& y = thread.placement(own_.y);
    thread.kernels.sum_partials({thread.data(partials_), thread.placement(partials_).ld, groups.data(),
                                 static_cast<int64_t>(count), thread.data(own_.y), y.ld, thread.own_rows(own_.y)});
  }

 private:
  const graph::Dense& own_;
  ValueId partials_;
};

/// Whether an output is read by losses and metrics alone, in the same team.
bool feeds_loss(const Scheduler& scheduler, ValueId y) {
  const auto& readers = scheduler.readers(y);
  return scheduler.differentiates() && scheduler.one_team() && !readers.empty() &&
         std::all_of(readers.begin(), readers.end(), [](const graph::Operation* reader) {
           return dynamic_cast<const graph::LossOfRows*>(reader) || dynamic_cast<const graph::MetricOfRows*>(reader) ||
                  dynamic_cast<const graph::MetricOfSums*>(reader);
         });
}

/// With few rows every thread adds the sums, and computes the loss, of all rows for itself: one barrier instead of two,
/// since no gradient travels then.
void schedule_partial_products(Scheduler& scheduler, const graph::Dense& operation) {
  const bool few = pays_to_repeat_loss(scheduler.max_rows(), scheduler.threads());
  const int64_t slices = divide_up(scheduler.value(operation.x).columns, kSlice);
  const ValueId partials = scheduler.add_scratch((few ? 2 : 1) * slices, scheduler.max_rows() * kLineFloats);
  if (few) scheduler.set_double_buffered(partials);
  scheduler.add<PartialProductsStep>(operation, partials);
  scheduler.add<SumPartialsStep>(operation, few ? Split::every_thread() : Split::over(kSamples), partials);
}

void schedule_dense(Scheduler& scheduler, const graph::Dense& operation) {
  // Copies, since scratch that is added moves the values of the schedule.
  const graph::Value x = scheduler.value(operation.x), y = scheduler.value(operation.y);
  const bool last = y.groups == 1 && operation.activation == Activation::kLinear && feeds_loss(scheduler, operation.y);
  if (last && scheduler.is_divided_by_column(operation.x) &&
      pays_to_sum_partials(x.columns, y.columns, scheduler.threads())) {
    return schedule_partial_products(scheduler, operation);
  }
  if (scheduler.is_augmented(operation.x) && x.groups == 1) record_nonzeros(scheduler, operation.x);
  const InputForm form(scheduler, operation.x);
  const DenseKernel kernel =
      choose_dense(scheduler.most_rows(operation.y), x.columns, y.columns, scheduler.threads(), form.is_compressed());
  const ValueId packing =
      kernel == DenseKernel::kPackedBlocks ? scheduler.packing_scratch(scheduler.most_rows(operation.y)) : kNoValue;
  const Split split = split_dense(scheduler.graph(), scheduler.max_rows(), y.columns, scheduler.threads());
  scheduler.add<DenseStep>(operation, split, kernel, form, packing);
}

// ---- The gradient by the input --------------------------------------------------------------------------------------

/// out (n, rows) = dz (rows, n)^T
class TransposeStep final : public Step {
 public:
  TransposeStep(ValueId dz, Split split, ValueId transposed) : Step(nullptr, split), dz_(dz), transposed_(transposed) {
    const bool by_column = split.shares('n');
    operands = {graph::writes(transposed, by_column ? 'n' : kWhole, by_column ? kWhole : kSamples),
                graph::reads(dz, kSamples, 'n')};
  }

  std::string kernel() const override { return "transpose"; }

  void run(const ThreadContext& thread) const override {
    const Placement &dz = thread.placement(dz_), &out = thread.placement(transposed_);
    thread.kernels.transpose({thread.data(dz_), dz.ld, thread.data(transposed_), out.ld, thread.own_rows(dz_),
                              thread.range('n', dz.columns)});
  }

 private:
  ValueId dz_, transposed_;
};

class DenseInputGradientStep final : public Step {
 public:
  /// `scratch`: dz transposed, or where blocks are packed.
  DenseInputGradientStep(const graph::DenseInputGradient& operation, InputGradientKernel kernel, ValueId scratch)
      : Step(&operation, Split::over('k')), own_(operation), kernel_(kernel), scratch_(scratch) {
    if (kernel != InputGradientKernel::kTransposedGradient) return;
    forget(operation.dz);
    operands.push_back(graph::reads(scratch, kWhole, kWhole));
  }

  std::string kernel() const override {
    return kernel_ == InputGradientKernel::kPackedBlocks         ? "packed blocks"
           : kernel_ == InputGradientKernel::kTransposedGradient ? "transposed gradient"
                                                                 : "transposed kernel";
  }

  void run(const ThreadContext& thread) const override {
    const Variable& kernel = thread.variable(own_.kernel);
    const Range units = thread.range('k', kernel.rows);
    if (empty(units)) return;
    const int64_t rows = thread.batch_rows(own_.dx);
    // The last batch may have few rows.
    const bool packs = kernel_ == InputGradientKernel::kPackedBlocks && !transposes_kernel(rows, kernel.columns);
    if (packs) return run_packed(thread, rows, units);
    const bool transposed = kernel_ == InputGradientKernel::kTransposedGradient;
    const Placement &dz = thread.placement(transposed ? scratch_ : own_.dz), &dx = thread.placement(own_.dx);
    const float *from = thread.data(transposed ? scratch_ : own_.dz), *saved = thread.data(own_.x_saved),
                *addend = thread.data(own_.addend);
    for_blocks({0, rows}, kRowsInCache, [&](Range together) {
      const int64_t first = together.begin, at = first * dx.ld;
      thread.kernels.dense_input_gradient[index(own_.activation)](
          {from + (transposed ? first : first * dz.ld), dz.ld, thread.weights(own_.kernel).values, kernel.rows,
           saved ? saved + at : nullptr, thread.data(own_.dx) + at, dx.ld, kernel.columns, together.end - first, units,
           transposed, addend ? addend + at : nullptr});
    });
  }

 private:
  void run_packed(const ThreadContext& thread, int64_t rows, Range units) const {
    const Variable& kernel = thread.variable(own_.kernel);
    const Placement &dz = thread.placement(own_.dz), &dx = thread.placement(own_.dx);
    float* to = thread.data(own_.dx);
    Product product = product_into(to + units.begin, dx.ld, rows, kernel.rows, kernel.columns);
    product.a = thread.data(own_.dz);
    product.a_row = dz.ld;
    product.a_column = 1;
    product.b = thread.weights(own_.kernel).values;
    product.b_layout = Layout::kTransposedPanels;
    multiply_part(thread.kernels, product, {0, rows}, units, thread.data(scratch_));
    const Range columns{units.begin, round_up(units.end, kLineFloats)};
    if (own_.addend != kNoValue) thread.kernels.add({thread.data(own_.addend), to, to, dx.ld, {0, rows}, columns});
    if (own_.activation == Activation::kLinear) return;
    thread.kernels.activation_backward[index(own_.activation)](
        {to, to, thread.data(own_.x_saved), dx.ld, {0, rows}, columns});
  }

  const graph::DenseInputGradient& own_;
  InputGradientKernel kernel_;
  ValueId scratch_;
};

void schedule_input_gradient(Scheduler& scheduler, const graph::DenseInputGradient& operation) {
  const int64_t rows = scheduler.most_rows(operation.dx), units = scheduler.value(operation.dz).columns;
  const InputGradientKernel kernel =
      choose_input_gradient(rows, scheduler.value(operation.dx).columns, units, scheduler.threads());
  ValueId scratch = kNoValue;
  if (kernel == InputGradientKernel::kPackedBlocks) scratch = scheduler.packing_scratch(rows);
  if (kernel == InputGradientKernel::kTransposedGradient) {
    const Split split = scheduler.split_like(operation, operation.dz);
    scratch = split.is_every_thread() ? scheduler.add_thread_scratch(units, round_up(rows, kLineFloats))
                                      : scheduler.add_scratch(units, round_up(rows, kLineFloats));
    scheduler.add<TransposeStep>(operation.dz, split, scratch);
  }
  scheduler.add<DenseInputGradientStep>(operation, kernel, scratch);
}

// ---- The gradient by the weights -----------------------------------------------------------------------------------

class DenseWeightGradientStep final : public Step {
 public:
  /// `scratch`: where blocks are packed, or where products of compressed rows are summed.
  DenseWeightGradientStep(const graph::DenseWeightGradient& operation, Split split, DenseKernel kernel,
                          const InputForm& form, ValueId scratch)
      : Step(&operation, split),
        own_(operation),
        kernel_(kernel),
        form_(form),
        clears_(form.scratch() && form.scratch()->is_cleared_by(operation)),
        scratch_(scratch) {
    form.declare(*this, operation.x);
    give_to_first_input(*this, operation.steps ? operation.bias : operation.dbias);
  }

  std::string kernel() const override { return name_of(kernel_) + skips_zeros(form_); }

  void run(const ThreadContext& thread) const override {
    const Variable& kernel = thread.variable(own_.kernel);
    const Range units = thread.range('k', kernel.rows);
    if (empty(units)) return;
    const auto zeros = form_.nonzeros(thread);
    const DenseInput x = form_.input(thread, own_.x);
    const CompressedBatch elements = form_.compressed(thread);
    std::optional<CompressedSums> sums;
    if (form_.is_compressed()) sums.emplace(thread.data(scratch_), kernel.rows);
    DenseWeightGradientArgs op{};
    op.x = x.floats;
    op.ldx = x.ld;
    op.x_rows = x.rows;
    op.dz = thread.data(own_.dz);
    op.lddz = thread.placement(own_.dz).ld;
    op.rows = thread.batch_rows(own_.dz);
    op.step = thread.optimizer_step();
    op.nonzeros = zeros ? &*zeros : nullptr;
    op.prefetch = form_.read ? form_.read->next_rows(thread) : RowsToPrefetch{};
    op.compressed = sums ? &elements : nullptr;
    op.sums = sums ? &*sums : nullptr;
    const Range mine = thread.padded('n', kernel.columns);
    if (kernel_ == DenseKernel::kPackedBlocks && !(zeros && zeros->found())) {
      return for_blocks(units, kGradientRows, [&](Range together) {
        for_blocks(mine, kBlockColumns, [&](Range block) {
          run_panels(thread, op, together, block, mine, packed_gradient(thread, op, together, block));
        });
      });
    }
    // Compressed rows take little room, but all of them would be visited again for each block.
    const int64_t block =
        sums ? kernel.rows : std::max(kInputsInCache / op.rows / kLineFloats * kLineFloats, kLineFloats);
    for_blocks(units, block, [&](Range together) { run_panels(thread, op, together, mine, mine, nullptr); });
  }

 private:
  /// The gradient by inputs `together` and columns `block` of the kernel, or the step of these weights. `gradient` is
  /// the gradient where it is known already.
  void run_panels(const ThreadContext& thread, DenseWeightGradientArgs& op, Range together, Range block, Range mine,
                  const float* gradient) const {
    const Variable& kernel = thread.variable(own_.kernel);
    Weights values, bias;
    auto run = thread.kernels.dense_weight_gradient;
    if (own_.steps) {
      values = thread.weights(own_.kernel);
      bias = thread.weights(own_.bias);
      const double factor = thread.penalty_factor();
      values.l2 *= factor;
      bias.l2 *= factor;
      run = thread.kernels.dense_weight_step[index(thread.optimizer().kind)][index(shrinkage(values, bias))];
    } else {
      values.values = thread.data(own_.dkernel);
      bias.values = thread.data(own_.dbias);
    }
    Panels(kernel.rows, kernel.columns).each(block, [&](const Panel& panel) {
      DenseWeightGradientArgs part = op;
      part.dz += panel.first;
      part.kernel = shifted(values, panel.offset);
      part.ldw = panel.width;
      part.bias = shifted(bias, panel.first);
      part.inputs = together;
      part.columns = panel.columns;
      part.clears_nonzeros = clears_ && panel.first + panel.columns.end == mine.end;
      if (gradient) part.gradient = gradient + panel.first + panel.columns.begin - block.begin;
      part.ldg = kGradientStride;
      run(part);
      op.prefetch = {};
    });
  }

  /// The gradient by at most kGradientRows inputs and kBlockColumns columns of the kernel, its rows kGradientStride
  /// apart
  const float* packed_gradient(const ThreadContext& thread, const DenseWeightGradientArgs& op, Range units,
                               Range columns) const {
    const int64_t width = columns.end - columns.begin;
    float* gradient = thread.data(scratch_) + packing_floats(op.rows);
    Product product = product_into(gradient, kGradientStride, thread.variable(own_.kernel).rows, width, op.rows);
    product.a = op.x;
    product.a_row = 1;
    product.a_column = op.ldx;
    product.a_columns = op.x_rows;
    product.b = op.dz + columns.begin;
    product.b_row = op.lddz;
    product.b_column = 1;
    multiply_part(thread.kernels, product, units, {0, width}, thread.data(scratch_));
    return gradient;
  }

  const graph::DenseWeightGradient& own_;
  DenseKernel kernel_;
  InputForm form_;
  bool clears_;  // the transpose of what is not zero in x
  ValueId scratch_;
};

void schedule_weight_gradient(Scheduler& scheduler, const graph::DenseWeightGradient& operation) {
  const int64_t rows = scheduler.most_rows(operation.dz), units = scheduler.value(operation.dz).columns;
  const int64_t inputs = scheduler.value(operation.x).columns;
  const InputForm form(scheduler, operation.x);
  const DenseKernel kernel = choose_dense(rows, inputs, units, scheduler.threads(), form.is_compressed());
  ValueId scratch = kNoValue;
  if (kernel == DenseKernel::kPackedBlocks) scratch = scheduler.packing_scratch(rows);
  if (kernel == DenseKernel::kCompressedRows) {
    scratch = scheduler.add_thread_scratch(1, CompressedSums::scratch(scheduler.max_rows(), inputs));
  }
  const Split split = feeds_all(units, scheduler.threads()) ? Split::over('n') : Split::over('k');
  scheduler.add<DenseWeightGradientStep>(operation, split, kernel, form, scratch);
}

}  // namespace

void add_dense(OperationRegistry& all) {
  all.add<graph::Dense>(schedule_dense);
  all.add<graph::DenseInputGradient>(schedule_input_gradient);
  all.add<graph::DenseWeightGradient>(schedule_weight_gradient);
}

}  // namespace engine::cpu
