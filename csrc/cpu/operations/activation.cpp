// Activations.
#include "graph/operations/activation.h"

#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

void activate(const graph::ElementwiseActivation& op, const ThreadContext& thread) {
  ElementwiseArgs arguments = thread.elementwise(op.x, op.y);
  arguments.parameters = op.parameters.data();
  thread.kernels.activation_forward[index(op.activation)](arguments);
}

void activation_gradient(const graph::ElementwiseActivationGradient& op, const ThreadContext& thread) {
  ElementwiseArgs arguments = thread.elementwise(op.dy, op.dx, op.saved);
  arguments.parameters = op.parameters.data();
  thread.kernels.activation_backward[index(op.activation)](arguments);
}

void activate_rows(const graph::RowActivation& op, const ThreadContext& thread) {
  const Placement& y = thread.placement(op.y);
  thread.kernels.row_activation_forward[index(op.activation) - kElementwiseActivations](
      {thread.data(op.x), nullptr, thread.data(op.y), y.ld, y.columns, thread.own_rows(op.y)});
}

void row_activation_gradient(const graph::RowActivationGradient& op, const ThreadContext& thread) {
  const Placement& dx = thread.placement(op.dx);
  thread.kernels.row_activation_backward[index(op.activation) - kElementwiseActivations](
      {thread.data(op.dy), thread.data(op.y), thread.data(op.dx), dx.ld, dx.columns, thread.own_rows(op.dx)});
}

}  // namespace

void add_activations(OperationRegistry& all) {
  all.add<graph::ElementwiseActivation>(activate, like<&graph::ElementwiseActivation::x>);
  all.add<graph::ElementwiseActivationGradient>(activation_gradient, like<&graph::ElementwiseActivationGradient::dy>);
  all.add<graph::RowActivation>(activate_rows, by_samples);
  all.add<graph::RowActivationGradient>(row_activation_gradient, by_samples);
}

}  // namespace engine::cpu
