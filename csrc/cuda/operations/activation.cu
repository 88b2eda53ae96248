// Activations.
#include "cuda/activations.h"
#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "cuda/warp_rows.h"
#include "formulas/row_activations.h"
#include "graph/operations/activation.h"

namespace engine::cuda {
namespace {

struct Activate {
  const float* x;
  float* y;
  Activation activation;
  ActivationParameters parameters;
  __device__ void operator()(int64_t i, const Batch&) const { y[i] = forward(activation, x[i], parameters); }
};

void schedule_activation(Schedule& schedule, const graph::ElementwiseActivation& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.y,
                        Activate{memory.scratch(op.x), memory.scratch(op.y), op.activation, parameters_of(op)});
  });
}

struct ActivateBackward {
  const float *dy, *saved;
  float* dx;
  Activation activation;
  ActivationParameters parameters;
  __device__ void operator()(int64_t i, const Batch&) const {
    dx[i] = backward(activation, dy[i], saved[i], parameters);
  }
};

void schedule_activation_gradient(Schedule& schedule, const graph::ElementwiseActivationGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.dx,
                        ActivateBackward{memory.scratch(op.dy), memory.scratch(op.saved), memory.scratch(op.dx),
                                         op.activation, parameters_of(op)});
  });
}

/// Softmax and the like: a warp for each row.
struct RowActivationStep {
  const float *x, *dy;
  float* y;
  int64_t columns;
  Activation activation;
  bool backward;

  __device__ void operator()(int64_t b, const Batch&) const {
    const int64_t at = b * columns;
    ActivationRow row{{columns}, x + at, dy ? dy + at : nullptr, y + at};
    with_formula(activation, formulas::RowActivations{}, [&](auto chosen) {
      using Formula = typename decltype(chosen)::Type;
      if (backward) {
        Formula::backward(row);
      } else {
        Formula::forward(row);
      }
    });
  }
};

void schedule_row_activation(Schedule& schedule, const graph::RowActivation& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_rows(memory.schedule, op.y,
                    RowActivationStep{memory.scratch(op.x), nullptr, memory.scratch(op.y),
                                      memory.schedule.placement(op.y).columns, op.activation, false});
  });
}

void schedule_row_activation_gradient(Schedule& schedule, const graph::RowActivationGradient& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_rows(memory.schedule, op.dx,
                    RowActivationStep{memory.scratch(op.y), memory.scratch(op.dy), memory.scratch(op.dx),
                                      memory.schedule.placement(op.dx).columns, op.activation, true});
  });
}

}  // namespace

void add_activations(OperationRegistry& all) {
  all.add<graph::ElementwiseActivation>(schedule_activation);
  all.add<graph::ElementwiseActivationGradient>(schedule_activation_gradient);
  all.add<graph::RowActivation>(schedule_row_activation);
  all.add<graph::RowActivationGradient>(schedule_row_activation_gradient);
}

}  // namespace engine::cuda
