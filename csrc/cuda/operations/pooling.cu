// Masks, and the mean or maximum over the rows of a sample.
#include "cuda/elements.h"
#include "cuda/warp_rows.h"
#include "graph/operations/pooling.h"

namespace engine::cuda {
namespace {

/// factors[b,i] = 1 where row i of sample b holds another number than `value`, else 0; with `shares`, they are divided
/// by their sum over i. A warp has a sample.
struct RowFactors {
  const float* x;
  float* factors;
  int64_t count, columns;  // rows of a sample, and numbers of each
  float value;
  bool shares;

  __device__ bool is_kept(int64_t row) const {
    for (int64_t j = 0; j < columns; ++j) {
      if (x[row * columns + j] != value) return true;
    }
    return false;
  }
  __device__ void operator()(int64_t b, const Batch&) const {
    float* const of_sample = factors + b * count;
    const Row rows{count};
    rows.for_columns([&](int64_t i) { of_sample[i] = is_kept(b * count + i) ? 1.0f : 0.0f; });
    if (!shares) return;
    const float kept = rows.total([&](int64_t i) { return of_sample[i]; });
    if (kept > 0.0f) rows.for_columns([&](int64_t i) { of_sample[i] = of_sample[i] / kept; });
  }
};

void schedule_row_factors(Schedule& schedule, const graph::RowFactors& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement &x = memory.schedule.placement(op.x), &factors = memory.schedule.placement(op.factors);
    const int64_t count = factors.groups * factors.columns;
    return for_sample_rows(memory.schedule, RowFactors{memory.scratch(op.x), memory.scratch(op.factors), count,
                                                       x.groups * x.columns / count, op.value, op.shares});
  });
}

/// What the rows of samples are multiplied by: a factor of each, or one for all.
struct FactorsOfRows {
  const float* factors;  // (samples, count), or null
  float scale;
  __device__ float operator[](int64_t row) const { return factors ? factors[row] : scale; }
};

/// y[b,i,:] = factors[b,i] x[b,i,:], where x may have a single row for each sample
struct ScaleRows {
  const float* x;
  FactorsOfRows factors;
  float* y;
  int64_t count, columns;
  bool repeats;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t row = i / columns, j = i % columns;
    y[i] = x[repeats ? row / count * columns + j : i] * factors[row];
  }
};

void schedule_scale_rows(Schedule& schedule, const graph::ScaleRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement &x = memory.schedule.placement(op.x), &y = memory.schedule.placement(op.y);
    return for_elements(memory.schedule, op.y,
                        ScaleRows{memory.scratch(op.x),
                                  {memory.scratch(op.factors), op.scale},
                                  memory.scratch(op.y),
                                  y.groups,
                                  y.columns,
                                  x.groups < y.groups});
  });
}

/// y[b,n] = the sum over i of factors[b,i] x[b,i,n]
struct MeanOfRows {
  const float* x;
  FactorsOfRows factors;
  float* y;
  int64_t count, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t b = i / columns, j = i % columns;
    float sum = 0.0f;
    for (int64_t r = b * count; r < (b + 1) * count; ++r) sum = formulas::fma(x[r * columns + j], factors[r], sum);
    y[i] = sum;
  }
};

void schedule_mean_of_rows(Schedule& schedule, const graph::MeanOfRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    return for_elements(
        memory.schedule, op.y,
        MeanOfRows{
            memory.scratch(op.x), {memory.scratch(op.factors), op.scale}, memory.scratch(op.y), x.groups, x.columns});
  });
}

/// y[b,n] = the largest x[b,i,n]; a NaN among them gives a NaN
struct MaxOfRows {
  const float* x;
  float* y;
  int64_t count, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float* const column = x + i / columns * count * columns + i % columns;
    float most = column[0];
    for (int64_t r = 1; r < count; ++r) {
      const float next = column[r * columns];
      most = next <= most || most != most ? most : next;
    }
    y[i] = most;
  }
};

void schedule_max_of_rows(Schedule& schedule, const graph::MaxOfRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    return for_elements(memory.schedule, op.y,
                        MaxOfRows{memory.scratch(op.x), memory.scratch(op.y), x.groups, x.columns});
  });
}

/// dx[b,i,n] = dy[b,n], shared by the rows that are as large as y[b,n]; a thread has all rows of one column
struct MaxOfRowsGradient {
  const float *dy, *x, *y;
  float* dx;
  int64_t count, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    const int64_t first = i / columns * count * columns + i % columns;
    float equal = 0.0f;
    for (int64_t r = 0; r < count; ++r) equal += x[first + r * columns] == y[i] ? 1.0f : 0.0f;
    const float share = dy[i] / equal;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t at = first + r * columns;
      dx[at] = x[at] == y[i] ? share : 0.0f;
    }
  }
};

void schedule_max_of_rows_gradient(Schedule& schedule, const graph::MaxOfRowsGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    return for_elements(memory.schedule, op.y,
                        MaxOfRowsGradient{memory.scratch(op.dy), memory.scratch(op.x), memory.scratch(op.y),
                                          memory.scratch(op.dx), x.groups, x.columns});
  });
}

}  // namespace

void add_pooling(OperationRegistry& all) {
  all.add<graph::RowFactors>(schedule_row_factors);
  all.add<graph::ScaleRows>(schedule_scale_rows);
  all.add<graph::MeanOfRows>(schedule_mean_of_rows);
  all.add<graph::MaxOfRows>(schedule_max_of_rows);
  all.add<graph::MaxOfRowsGradient>(schedule_max_of_rows_gradient);
}

}  // namespace engine::cuda
