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
  const float *dy, *x;
  float *dgain, *dshift;  // null where nobody reads them
  int64_t columns, groups;
  ColumnRule rule;

  int64_t blocks() const { return blocks_for_columns(columns); }
  int64_t shared_bytes() const { return kColumnSumBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t rows = groups * batch.rows;
    for_each_column_of_blocks(columns, [&](int64_t j) {
      const bool has_column = j < columns, stores = has_column && threadIdx.x < kWarp;
      if (dgain) {
        const float sum = sum_of_rows(rows, has_column, [&](int64_t b, float all) {
          const float of_x = x[b * columns + j];
          const bool counts = rule == ColumnRule::kScaled || of_x < 0.0f;
          return counts ? formulas::fma(dy[b * columns + j], of_x, all) : all;
        });
        if (stores) dgain[j] = sum;
      }
      if (dshift) {
        const float sum =
            sum_of_rows(rows, has_column, [&](int64_t b, float all) { return all + dy[b * columns + j]; });
        if (stores) dshift[j] = sum;
      }
    });
  }
};

void schedule_column_scale_weight_gradient(Schedule& schedule, const graph::ColumnScaleWeightGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& dy = memory.schedule.placement(op.dy);
    return ColumnScaleWeightGradient{memory.scratch(op.dy),
                                     memory.scratch(op.x),
                                     memory.scratch(op.dgain),
                                     memory.scratch(op.dshift),
                                     dy.columns,
                                     dy.groups,
                                     op.rule};
  });
}

}  // namespace

void add_column_scale(Implementations& all) {
  all.add<graph::ColumnScale>(schedule_column_scale);
  all.add<graph::ColumnScaleInputGradient>(schedule_column_scale_input_gradient);
  all.add<graph::ColumnScaleWeightGradient>(schedule_column_scale_weight_gradient);
}

}  // namespace engine::cuda
