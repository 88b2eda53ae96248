// Gain and shift of columns, and the slopes of PReLU.
#include "cuda/column_sums.h"
#include "cuda/elements.h"
#include "graph/operations/column_scale.h"

namespace engine::cuda {
namespace {

struct ColumnScale {
  const float *x, *gain, *shift;  // gain and shift may be null
  float* y;
  int64_t columns;
  ColumnRule rule;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t j = i % columns;
    const float factor = gain ? gain[j] : 1.0f;
    y[i] = rule == ColumnRule::kScaled ? formulas::fma(x[i], factor, shift ? shift[j] : 0.0f)
           : x[i] > 0.0f               ? x[i]
                                       : factor * x[i];
  }
};

void schedule_column_scale(Schedule& schedule, const graph::ColumnScale& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t columns = memory.schedule.placement(op.y).columns;
    const float* const corrections = memory.scratch(op.corrections);
    return for_elements(memory.schedule, op.y,
                        ColumnScale{memory.scratch(op.x), corrections ? corrections : memory.numbers(op.gain),
                                    corrections ? corrections + columns : memory.numbers(op.shift),
                                    memory.scratch(op.y), columns, op.rule});
  });
}

struct ColumnScaleInputGradient {
  const float *dy, *x, *gain;
  float* dx;
  int64_t columns;
  ColumnRule rule;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float factor = gain ? gain[i % columns] : 1.0f;
    dx[i] = rule == ColumnRule::kScaled ? dy[i] * factor : x[i] > 0.0f ? dy[i] : x[i] < 0.0f ? factor * dy[i] : 0.0f;
  }
};

void schedule_column_scale_input_gradient(Schedule& schedule, const graph::ColumnScaleInputGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const float* const corrections = memory.scratch(op.corrections);
    return for_elements(
        memory.schedule, op.dx,
        ColumnScaleInputGradient{memory.scratch(op.dy), memory.scratch(op.x),
                                 corrections ? corrections : memory.numbers(op.gain), memory.scratch(op.dx),
                                 memory.schedule.placement(op.dx).columns, op.rule});
  });
}

/// dgain[n] = the sum over b of dy[b,n] x[b,n], of negative x alone by the leaky rule; dshift[n] = that of dy[b,n]
struct ColumnScaleWeightGradient {
  static constexpr int kSums = 2;

  const float *dy, *x;
  float *dgain, *dshift;  // null where they are not needed
  int64_t columns;
  RowCount row_count;
  ColumnRule rule;

  __device__ bool is_wanted(const Batch&) const { return true; }
  __device__ int64_t rows(const Batch& batch) const { return row_count.in(batch); }
  __device__ void add(int64_t b, int64_t j, float (&sums)[kSums]) const {
    const float gradient = dy[b * columns + j], input = dgain ? x[b * columns + j] : 0.0f;
    if (rule == ColumnRule::kScaled || input < 0.0f) sums[0] = formulas::fma(gradient, input, sums[0]);
    sums[1] += gradient;
  }
  __device__ void finish(int64_t j, const float (&sums)[kSums], const Batch&) const {
    if (dgain) dgain[j] = sums[0];
    if (dshift) dshift[j] = sums[1];
  }
};

void schedule_column_scale_weight_gradient(Schedule& schedule, const graph::ColumnScaleWeightGradient& op) {
  const int64_t columns = schedule.placement(op.dy).columns;
  const RowCount rows = row_count(schedule, op.dy);
  add_column_sums(schedule, op, rows, columns, [=, &op](const RunMemory& memory) {
    return ColumnScaleWeightGradient{memory.scratch(op.dy),
                                     memory.scratch(op.x),
                                     memory.scratch(op.dgain),
                                     memory.scratch(op.dshift),
                                     columns,
                                     rows,
                                     op.rule};
  });
}

}  // namespace

void add_column_scale(OperationRegistry& all) {
  all.add<graph::ColumnScale>(schedule_column_scale);
  all.add<graph::ColumnScaleInputGradient>(schedule_column_scale_input_gradient);
  all.add<graph::ColumnScaleWeightGradient>(schedule_column_scale_weight_gradient);
}

}  // namespace engine::cuda
