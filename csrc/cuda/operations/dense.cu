// Products of dense layers with their kernels, forwards and backwards, whose operands tensor cores round where an
// operation has a precision below float32.
#include "cuda/activations.h"
#include "cuda/library/dense.h"
#include "cuda/products.h"
#include "cuda/row_weights.h"
#include "cuda/schedule.h"
#include "cuda/steps.h"
#include "graph/operations/dense.h"

namespace engine::cuda {
namespace {

/// Calls f(tile) for the kind of tile that computes a result (m, n): the largest of which there is one for each
/// multiprocessor. Large tiles read each operand less often; small ones keep more multiprocessors busy.
template <class F>
void with_tile(const Schedule& schedule, Precision precision, int64_t m, int64_t n, F&& f) {
  const auto fills_card = [&](int64_t tiles) { return tiles >= schedule.multiprocessors(); };
  if (precision == Precision::kFloat32) {
    fills_card(tiles_of<LargeTile>(m, n)) ? f(LargeTile{}) : f(SmallTile{});
  } else if (fills_card(tiles_of<LargeTensorTile>(m, n))) {
    f(LargeTensorTile{});
  } else if (fills_card(tiles_of<MediumTensorTile>(m, n))) {
    f(MediumTensorTile{});
  } else {
    f(SmallTensorTile{});
  }
}

/// y[b,n] = activation(sum over k of x[b,k] kernel[k,n], + bias[n])
template <class T>
struct DenseForward {
  const float *x, *kernel, *bias;
  float* y;
  int64_t groups, units, inputs, max_rows;
  Activation activation;
  Precision precision;

  int64_t blocks() const { return tiles_of<T>(groups * max_rows, units); }
  int64_t shared_bytes() const { return T::kSharedBytes; }
  __device__ void run(const Batch& batch) const {
    multiply<T>(precision, groups * batch.rows, units, inputs, Matrix<true>{x, inputs}, Matrix<true>{kernel, units},
                [&](int64_t b, int64_t n, float sum) {
                  const float z = bias ? sum + bias[n] : sum;
                  y[b * units + n] = fused_forward(activation, z);
                });
  }
};

template <class T>
void add_forward(Schedule& schedule, const graph::Dense& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement &x = memory.schedule.placement(op.x), &y = memory.schedule.placement(op.y);
    return DenseForward<T>{memory.scratch(op.x),
                           memory.numbers(op.kernel),
                           memory.numbers(op.bias),
                           memory.scratch(op.y),
                           y.groups,
                           y.columns,
                           x.columns,
                           memory.schedule.max_rows(),
                           op.activation,
                           op.precision};
  });
}

void schedule_dense(Schedule& schedule, const graph::Dense& op) {
  if (schedule_by_library(schedule, op)) return;
  with_tile(schedule, op.precision, schedule.rows(op.y), schedule.placement(op.y).columns,
            [&](auto tile) { add_forward<decltype(tile)>(schedule, op); });
}

/// dx[b,k] = activation'(x_saved[b,k]) * (addend[b,k] + sum over n of dz[b,n] kernel[k,n])
template <class T>
struct DenseBackward {
  const float *dz, *kernel, *addend, *saved;
  float* dx;
  int64_t groups, units, inputs, max_rows;
  Activation activation;
  Precision precision;

  int64_t blocks() const { return tiles_of<T>(groups * max_rows, inputs); }
  int64_t shared_bytes() const { return T::kSharedBytes; }
  __device__ void run(const Batch& batch) const {
    multiply<T>(precision, groups * batch.rows, inputs, units, Matrix<true>{dz, units}, Matrix<false>{kernel, units},
                [&](int64_t b, int64_t k, float sum) {
                  const int64_t at = b * inputs + k;
                  const float dy = addend ? sum + addend[at] : sum;
                  dx[at] = saved ? fused_backward(activation, dy, saved[at]) : dy;
                });
  }
};

template <class T>
void add_backward(Schedule& schedule, const graph::DenseInputGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement &dz = memory.schedule.placement(op.dz), &dx = memory.schedule.placement(op.dx);
    return DenseBackward<T>{memory.scratch(op.dz),
                            memory.numbers(op.kernel),
                            memory.scratch(op.addend),
                            memory.scratch(op.x_saved),
                            memory.scratch(op.dx),
                            dx.groups,
                            dz.columns,
                            dx.columns,
                            memory.schedule.max_rows(),
                            op.activation,
                            op.precision};
  });
}

void schedule_input_gradient(Schedule& schedule, const graph::DenseInputGradient& op) {
  if (schedule_by_library(schedule, op)) return;
  with_tile(schedule, op.precision, schedule.rows(op.dx), schedule.placement(op.dx).columns,
            [&](auto tile) { add_backward<decltype(tile)>(schedule, op); });
}

/// The inputs of a batch as the left operand of a weight gradient, x^T, with a row of ones below it: its products are
/// the gradient by the bias.
struct TransposedInputs {
  static constexpr bool kRowsAreContiguous = false;
  const float* x;
  int64_t inputs;
  __device__ float operator()(int64_t k, int64_t b) const { return k < inputs ? x[b * inputs + k] : 1.0f; }
};

/// dkernel[k,n] = sum over b of x[b,k] dz[b,n], and dbias[n] = sum over b of dz[b,n]: stored, or stepped by at once.
template <class T>
struct DenseWeights {
  const float *x, *dz;
  float *dkernel, *dbias;  // null where the optimizer steps the weights
  CardWeights kernel, bias;
  bool steps, has_bias;
  Optimizer rule;
  PenaltyFactor penalty_factor;
  Precision precision;
  int64_t groups, units, inputs;

  int64_t gradient_rows() const { return inputs + (has_bias ? 1 : 0); }
  int64_t blocks() const { return tiles_of<T>(gradient_rows(), units); }
  int64_t shared_bytes() const { return T::kSharedBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t rows = inputs + (has_bias ? 1 : 0);
    const float factor = penalty_factor(batch);
    multiply<T>(precision, rows, units, groups * batch.rows, TransposedInputs{x, inputs}, Matrix<true>{dz, units},
                [&](int64_t k, int64_t n, float sum) {
                  const bool is_bias = k == inputs;
                  const int64_t at = is_bias ? n : k * units + n;
                  if (!steps) {
                    (is_bias ? dbias : dkernel)[at] = sum;
                    return;
                  }
                  const CardWeights& own = is_bias ? bias : kernel;
                  step_weight<FusedOptimizers>(rule, own, at, formulas::fma(factor * own.l2_slope, own.values[at], sum),
                                               batch);
                });
  }
};

template <class T>
void add_weights(Schedule& schedule, const graph::DenseWeightGradient& op) {
  const auto is_penalized = [&](ValueId variable) {
    return op.steps && variable != kNoValue && schedule.variable(variable).spec.l2 != 0.0;
  };
  const bool has_penalties = is_penalized(op.kernel) || is_penalized(op.bias);
  schedule.add(op, [&op, factor = add_penalty_factor(schedule, op, has_penalties)](const RunMemory& memory) {
    const Placement &x = memory.schedule.placement(op.x), &dz = memory.schedule.placement(op.dz);
    return DenseWeights<T>{memory.scratch(op.x),
                           memory.scratch(op.dz),
                           memory.scratch(op.dkernel),
                           memory.scratch(op.dbias),
                           memory.weights(op.steps ? op.kernel : kNoValue),
                           memory.weights(op.steps ? op.bias : kNoValue),
                           op.steps,
                           (op.steps ? op.bias : op.dbias) != kNoValue,
                           memory.training().optimizer.kind,
                           factor(memory),
                           op.precision,
                           dz.groups,
                           dz.columns,
                           x.columns};
  });
}

void schedule_weight_gradient(Schedule& schedule, const graph::DenseWeightGradient& op) {
  if (schedule_by_library(schedule, op)) return;
  with_tile(schedule, op.precision, schedule.placement(op.x).columns, schedule.placement(op.dz).columns,
            [&](auto tile) { add_weights<decltype(tile)>(schedule, op); });
}

}  // namespace

void add_dense(OperationRegistry& all) {
  all.add<graph::Dense>(schedule_dense);
  all.add<graph::DenseInputGradient>(schedule_input_gradient);
  all.add<graph::DenseWeightGradient>(schedule_weight_gradient);
}

}  // namespace engine::cuda
