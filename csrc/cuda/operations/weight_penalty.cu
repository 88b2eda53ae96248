// What penalties on weights add to gradients.
#include "cuda/elements.h"
#include "cuda/row_weights.h"
#include "graph/operations/weight_penalty.h"

namespace engine::cuda {
namespace {

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

}  // namespace

void add_penalties(OperationRegistry& all) { all.add<graph::AddPenaltyGradient>(schedule_penalty_gradient); }

}  // namespace engine::cuda
