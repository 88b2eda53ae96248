// Penalties on what passes between layers, and on rows or columns of weights that are not orthogonal.
#include "cuda/elements.h"
#include "cuda/row_weights.h"
#include "cuda/warp_rows.h"
#include "graph/operations/activity_penalty.h"
#include "graph/operations/weight_penalty.h"

namespace engine::cuda {
namespace {

// ---- Activities -----------------------------------------------------------------------------------------------------

/// sums[b] = the sum over n of l1 |x[b,n]| + l2 x[b,n]^2
struct ActivityPenalty {
  const float* x;
  float* sums;
  int64_t columns;
  float l1, l2;

  __device__ void operator()(int64_t b, const Batch&) const {
    const float* const row = x + b * columns;
    const float sum =
        Row{columns}.total([&](int64_t j) { return formulas::fma(l2 * row[j], row[j], l1 * formulas::abs(row[j])); });
    if (threadIdx.x % kWarp == 0) sums[b] = sum;
  }
};

void schedule_activity_penalty(Schedule& schedule, const graph::ActivityPenalty& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_rows(
        memory.schedule, op.x,
        ActivityPenalty{memory.scratch(op.x), memory.scratch(op.sums), memory.schedule.placement(op.x).columns,
                        static_cast<float>(op.l1), static_cast<float>(op.l2)});
  });
}

/// dx = dy + (l1 sign(x) + 2 l2 x) / samples; the derivative of |x| at 0 is 1, as in JAX.
struct ActivityPenaltyGradient {
  const float *dy, *x;
  float* dx;
  float l1, l2;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const auto samples = static_cast<float>(batch.rows);
    const float of_magnitude = l1 / samples, of_square = 2.0f * (l2 / samples);
    dx[i] = formulas::fma(of_square, x[i], dy[i] + (x[i] < 0.0f ? -of_magnitude : of_magnitude));
  }
};

void schedule_activity_penalty_gradient(Schedule& schedule, const graph::ActivityPenaltyGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.dx,
                        ActivityPenaltyGradient{memory.scratch(op.dy), memory.scratch(op.x), memory.scratch(op.dx),
                                                static_cast<float>(op.l1), static_cast<float>(op.l2)});
  });
}

// ---- Orthogonality --------------------------------------------------------------------------------------------------

/// units[r,:] = row (or column) r of a matrix over its norm
struct UnitRows {
  static constexpr float kSmallestNorm = 1e-7f;  // Keras' `backend.epsilon()`

  const float* weights;
  float *units, *norms;
  int64_t columns;                    // of the units
  int64_t row_stride, column_stride;  // of the weights, as the units go through them

  __device__ void operator()(int64_t r, const Batch&) const {
    const auto weight = [&](int64_t j) { return weights[r * row_stride + j * column_stride]; };
    const Row row{columns};
    const float root = formulas::sqrt(row.total([&](int64_t j) { return weight(j) * weight(j); }));
    const float norm = root < kSmallestNorm ? kSmallestNorm : root;
    row.for_columns([&](int64_t j) { units[r * columns + j] = weight(j) / norm; });
    if (threadIdx.x % kWarp == 0) norms[r] = norm;
  }
};

void schedule_unit_rows(Schedule& schedule, const graph::UnitRows& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t width = memory.schedule.variable(op.weights).columns;
    return for_rows(
        memory.schedule, op.units,
        UnitRows{memory.weights(op.weights).values, memory.scratch(op.units), memory.scratch(op.norms),
                 memory.schedule.placement(op.units).columns, op.columns ? 1 : width, op.columns ? width : 1});
  });
}

/// sums[r] = the sum over s of |u_r . u_s|, and its gradient by row r of the weights: with t = the sum over s of
/// sign(u_r . u_s) u_s, 2 factor (t - (t . u_r) u_r) / norm_r
struct OrthogonalPenalty {
  const float *units, *norms;
  float *sums, *gradients;  // no gradients: null
  int64_t rows, columns;
  float factor;

  __device__ void operator()(int64_t r, const Batch&) const {
    const float* const unit = units + r * columns;
    float* const gradient = gradients ? gradients + r * columns : nullptr;
    const Row row{columns};
    if (gradient) row.for_columns([&](int64_t j) { gradient[j] = 0.0f; });
    float sum = 0.0f;
    for (int64_t s = 0; s < rows; ++s) {
      if (s == r) continue;
      const float* const other = units + s * columns;
      const float product = row.total([&](int64_t j) { return unit[j] * other[j]; });
      sum = sum + formulas::abs(product);
      if (!gradient) continue;
      row.for_columns([&](int64_t j) { gradient[j] = gradient[j] + (product < 0.0f ? -other[j] : other[j]); });
    }
    if (threadIdx.x % kWarp == 0) sums[r] = sum;
    if (!gradient) return;
    const float along = row.total([&](int64_t j) { return gradient[j] * unit[j]; });
    row.for_columns(
        [&](int64_t j) { gradient[j] = 2.0f * factor * formulas::fma(-along, unit[j], gradient[j]) / norms[r]; });
  }
};

void schedule_orthogonal_penalty(Schedule& schedule, const graph::OrthogonalPenalty& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& units = memory.schedule.placement(op.units);
    return for_rows(
        memory.schedule, op.units,
        OrthogonalPenalty{memory.scratch(op.units), memory.scratch(op.norms), memory.scratch(op.sums),
                          memory.scratch(op.slopes), units.rows, units.columns, static_cast<float>(op.factor)});
  });
}

// ---- What penalties on weights add to gradients ---------------------------------------------------------------------

/// gradient += factor (l1 sign(w) + 2 l2 w); the derivative of |w| at 0 is 1, as in JAX.
struct AddPenaltyGradient {
  const float* weights;
  float* gradient;
  double l1, l2;
  PenaltyFactor factor;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const double by = factor(batch);
    const auto of_magnitude = static_cast<float>(by * l1), of_square = static_cast<float>(2.0 * (by * l2));
    const float w = weights[i];
    gradient[i] = formulas::fma(of_square, w, gradient[i] + (w < 0.0f ? -of_magnitude : of_magnitude));
  }
};

void schedule_penalty_gradient(Schedule& schedule, const graph::AddPenaltyGradient& op) {
  schedule.add(op, [&op, factor = add_penalty_factor(schedule, op)](const RunMemory& memory) {
    return for_weights(memory, op.weights,
                       AddPenaltyGradient{memory.weights(op.weights).values, memory.scratch(op.gradient), op.l1, op.l2,
                                          factor(memory)});
  });
}

/// gradient += factor penalty_gradient, or its transpose
struct AddStoredGradient {
  const float* penalty_gradient;
  float* gradient;
  int64_t columns;                    // of the gradient
  int64_t row_stride, column_stride;  // of the penalty's gradient, as the other one goes through it
  PenaltyFactor factor;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const float added = penalty_gradient[i / columns * row_stride + i % columns * column_stride];
    gradient[i] = gradient[i] + factor(batch) * added;
  }
};

void schedule_add_slopes(Schedule& schedule, const graph::AddSlopes& op) {
  schedule.add(op, [&op, factor = add_penalty_factor(schedule, op)](const RunMemory& memory) {
    const int64_t columns = memory.schedule.variable(op.gradient).columns;
    const int64_t width = memory.schedule.placement(op.slopes).columns;
    return for_weights(memory, op.gradient,
                       AddStoredGradient{memory.scratch(op.slopes), memory.scratch(op.gradient), columns,
                                         op.transposed ? 1 : width, op.transposed ? width : 1, factor(memory)});
  });
}

}  // namespace

void add_penalties(Implementations& all) {
  all.add<graph::ActivityPenalty>(schedule_activity_penalty);
  all.add<graph::ActivityPenaltyGradient>(schedule_activity_penalty_gradient);
  all.add<graph::UnitRows>(schedule_unit_rows);
  all.add<graph::OrthogonalPenalty>(schedule_orthogonal_penalty);
  all.add<graph::AddPenaltyGradient>(schedule_penalty_gradient);
  all.add<graph::AddSlopes>(schedule_add_slopes);
}

}  // namespace engine::cuda
