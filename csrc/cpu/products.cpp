// A dense layer's products with its kernel, forwards and backwards.
#include <algorithm>
#include <cstring>
#include <optional>

#include "cpu/steps.h"
#include "kernels/packed_blocks.h"

namespace engine {
namespace {

/// Rows of a large batch that go through a product together: they stay in a cache near by while the columns of the
/// kernel go past. All of them at once would come from main memory for every panel.
constexpr int64_t kRowsTogether = 128;

/// Rows that share a packed kernel, below which it is read where it lies.
constexpr int64_t kFewestPackedRows = 16;

/// Inputs of a large batch (4 MiB) that stay in the L3 cache while the gradients of all columns are summed from them.
constexpr int64_t kMostInputs = 1 << 20;

template <class F>
void for_blocks(Range range, int64_t size, F&& f) {
  for (int64_t i = range.begin; i < range.end; i += size) f(Range{i, std::min(i + size, range.end)});
}

}  // namespace

void StepRunner::dense_forward(const Step& step, const Batch& batch) const {
  const Variable& kernel = variable(step.kernel);
  const Weights values = weights(step.kernel), bias = weights(step.bias);
  const Range own = rows(step, batch, shape(step.out));
  if (empty(own)) return;
  float* y = data(step.out);
  const Input x = input(step, batch);
  const auto zeros = nonzeros(step);
  const CompressedBatch elements = compressed(batch);
  const bool skips_zeros = zeros && zeros->found();
  if (step.room >= 0 && own.end - own.begin >= kFewestPackedRows && x.floats && !skips_zeros) {
    return forward_in_blocks(step, own, columns(step, kernel.columns), x);
  }
  DenseForward op{};
  op.x = x.floats;
  op.ldx = x.ld;
  op.x_rows = x.rows;
  op.ldy = shape(step.out).ld;
  op.k = kernel.rows;
  op.nonzeros = zeros ? &*zeros : nullptr;
  op.in_slices = sums_in_slices(kernel.columns);
  op.compressed = step.compressed ? &elements : nullptr;
  for_blocks(own, kRowsTogether, [&](Range together) {
    op.rows = together;
    op.transposes = plan_.mode == Plan::Mode::kTrain;
    op.ahead = rows_ahead(step, batch, together);
    Panels(kernel.rows, kernel.columns).each(columns(step, kernel.columns), [&](const Panel& panel) {
      op.kernel = values.values + panel.offset;
      op.ldw = panel.width;
      op.bias = bias.values ? bias.values + panel.first : nullptr;
      op.y = y + panel.first;
      op.columns = panel.columns;
      kernels_.dense_forward[index(step.activation)](op);
      op.transposes = false;
      op.ahead = {};
    });
  });
}

void StepRunner::transpose(const Step& step, const Batch& batch) const {
  const Buffer &in = shape(step.in), &out = shape(step.out);
  const Range own = step.split == Split::kUnits ? worker_.slice(in.columns) : Range{0, in.columns};
  kernels_.transpose({data(step.in), in.ld, data(step.out), out.ld, rows(step, batch, in), own});
}

void StepRunner::dense_backward_input(const Step& step, const Batch& batch) const {
  const Variable& kernel = variable(step.kernel);
  const Range units = worker_.slice(kernel.rows);
  if (empty(units)) return;
  const Buffer &dz = shape(step.in), &dx = shape(step.out);
  const int64_t rows = batch.rows * dx.groups;
  if (step.room >= 0 && !transposes_kernel(rows, kernel.columns)) return input_gradient_in_blocks(step, rows, units);
  const float* saved = data(step.saved);
  for_blocks({0, rows}, kRowsTogether, [&](Range together) {
    const int64_t first = together.begin, at = first * dx.ld;
    kernels_.dense_backward_input[index(step.activation)](
        {data(step.in) + (step.transposed ? first : first * dz.ld), dz.ld, weights(step.kernel).values, kernel.rows,
         saved ? saved + at : nullptr, data(step.out) + at, dx.ld, kernel.columns, together.end - first, units,
         step.transposed});
  });
}

void StepRunner::dense_backward_weights(const Step& step, const Batch& batch) const {
  const Variable& kernel = variable(step.kernel);
  const Range units = step.split == Split::kInputs ? worker_.slice(kernel.rows) : Range{0, kernel.rows};
  if (empty(units)) return;
  Weights values = weights(step.kernel), bias = weights(step.bias);
  auto run = kernels_.dense_gradient;
  if (step.stores) {
    values = {gradient(step.kernel, step.apart)};
    bias = {gradient(step.bias, step.apart)};
  } else {
    const Optimizer kind = frame_.training->optimizer.kind;
    const double factor = penalty_factor(batch);
    values.l2 *= factor;
    bias.l2 *= factor;
    run = kernels_.dense_backward_weights[index(kind)][index(shrinkage(values, bias))];
  }
  const OptimizerStep& at = optimizer_step(batch);
  const auto zeros = nonzeros(step);
  const Input x = input(step, batch);
  const Range mine = columns(step, kernel.columns);
  const int64_t rows = batch.rows * shape(step.saved).groups;
  const CompressedBatch elements = compressed(batch);
  std::optional<CompressedSums> sums;
  if (step.compressed) sums.emplace(data(step.out), kernel.rows);
  DenseBackwardWeights op{};
  op.x = x.floats;
  op.ldx = x.ld;
  op.x_rows = x.rows;
  op.dz = data(step.saved);
  op.lddz = shape(step.saved).ld;
  op.rows = rows;
  op.step = at;
  op.nonzeros = zeros ? &*zeros : nullptr;
  op.ahead = next_rows(step, batch);
  op.compressed = sums ? &elements : nullptr;
  op.sums = sums ? &*sums : nullptr;
  const auto step_panels = [&](Range together, Range block, const float* gradient) {
    Panels(kernel.rows, kernel.columns).each(block, [&](const Panel& panel) {
      DenseBackwardWeights part = op;
      part.dz += panel.first;
      part.kernel = shifted(values, panel.offset);
      part.ldw = panel.width;
      part.bias = shifted(bias, panel.first);
      part.units = together;
      part.columns = panel.columns;
      part.last = panel.first + panel.columns.end == mine.end;
      if (gradient) part.gradient = gradient + panel.first + panel.columns.begin - block.begin;
      part.ldg = kGradientStride;
      run(part);
      op.ahead = {};
    });
  };
  if (step.room >= 0 && !(zeros && zeros->found())) {
    return for_blocks(units, kGradientRows, [&](Range together) {
      for_blocks(mine, kBlockColumns,
                 [&](Range block) { step_panels(together, block, kernel_gradient_block(step, op, together, block)); });
    });
  }
  // Compressed rows take little room, but would be gone through once more for each block.
  for_blocks(units, sums ? kernel.rows : std::max(kMostInputs / rows / kLane * kLane, kLane),
             [&](Range together) { step_panels(together, mine, nullptr); });
}

}  // namespace engine
