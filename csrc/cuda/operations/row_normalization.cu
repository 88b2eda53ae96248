// Normalization of rows: LayerNormalization, RMSNormalization, GroupNormalization and UnitNormalization.
#include "cuda/schedule.h"
#include "cuda/warp_rows.h"
#include "graph/operations/row_normalization.h"

namespace engine::cuda {
namespace {

/// y = factor d with d = x - mean(x) where `centred`, else x. The factor is 1 / sqrt(mean(d^2) + epsilon), or with
/// `unit` 1 / max(sqrt(sum(d^2)), epsilon). For each row, `factors` keeps the factor, and the weight of the projection
/// on y in the gradient: 1 / n, or with `unit` 1, or 0 where the norm was replaced by epsilon.
struct NormalizeRows {
  const float* x;
  float *y, *factors;
  int64_t columns;
  float epsilon;
  bool centred, unit;

  __device__ void operator()(int64_t b, const Batch&) const {
    const auto n = static_cast<float>(columns);
    const float* const x_row = x + b * columns;
    float* const y_row = y + b * columns;
    const Row row{columns};
    const float mean = centred ? row.total([&](int64_t j) { return x_row[j]; }) / n : 0.0f;
    float squares[1];
    row.sum(squares, [&](int64_t j, float* sums) {
      const float deviation = x_row[j] - mean;
      sums[0] = formulas::fma(deviation, deviation, sums[0]);
    });
    const float norm = formulas::sqrt(squares[0]);
    const float factor =
        unit ? 1.0f / (norm > epsilon ? norm : epsilon) : 1.0f / formulas::sqrt(squares[0] / n + epsilon);
    row.for_columns([&](int64_t j) { y_row[j] = (x_row[j] - mean) * factor; });
    if (threadIdx.x % kWarp != 0) return;
    factors[2 * b] = factor;
    factors[2 * b + 1] = !unit ? 1.0f / n : norm > epsilon ? 1.0f : 0.0f;
  }
};

void schedule_normalize_rows(Schedule& schedule, const graph::NormalizeRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_rows(memory.schedule, op.y,
                    NormalizeRows{memory.scratch(op.x), memory.scratch(op.y), memory.scratch(op.factors),
                                  memory.schedule.placement(op.y).columns, op.epsilon, op.centred, op.unit});
  });
}

/// dx = factor (dy - m - y projection sum(dy y)), with m = mean(dy) where `centred`, else 0
struct NormalizeRowsGradient {
  const float *dy, *y, *factors;
  float* dx;
  int64_t columns;
  bool centred;

  __device__ void operator()(int64_t b, const Batch&) const {
    const float *dy_row = dy + b * columns, *y_row = y + b * columns;
    float* const dx_row = dx + b * columns;
    const Row row{columns};
    const float mean = centred ? row.total([&](int64_t j) { return dy_row[j]; }) / static_cast<float>(columns) : 0.0f;
    float products[1];
    row.sum(products, [&](int64_t j, float* sums) { sums[0] = formulas::fma(dy_row[j], y_row[j], sums[0]); });
    const float factor = factors[2 * b], projection = factors[2 * b + 1] * products[0];
    row.for_columns([&](int64_t j) { dx_row[j] = factor * formulas::fma(-projection, y_row[j], dy_row[j] - mean); });
  }
};

void schedule_normalize_rows_gradient(Schedule& schedule, const graph::NormalizeRowsGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_rows(memory.schedule, op.dx,
                    NormalizeRowsGradient{memory.scratch(op.dy), memory.scratch(op.y), memory.scratch(op.factors),
                                          memory.scratch(op.dx), memory.schedule.placement(op.dx).columns, op.centred});
  });
}

}  // namespace

void add_row_normalization(OperationRegistry& all) {
  all.add<graph::NormalizeRows>(schedule_normalize_rows);
  all.add<graph::NormalizeRowsGradient>(schedule_normalize_rows_gradient);
}

}  // namespace engine::cuda
