// Activations and random numbers.
#include "cpu/scheduler.h"
#include "graph/operations/activation.h"
#include "graph/operations/random_noise.h"

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

void dropout(const graph::Dropout& op, const ThreadContext& thread) {
  const Placement& y = thread.placement(op.y);
  const ThreadContext::Draw draw = thread.draw(y.groups);
  thread.kernels.dropout_forward({thread.data(op.x), thread.data(op.y), thread.data(op.mask), y.ld,
                                  thread.own_rows(op.y), thread.columns(op.y), op.rate, op.seed, draw.step,
                                  draw.first});
}

void random_noise(const graph::RandomNoise& op, const ThreadContext& thread) {
  const Placement& noise = thread.placement(op.noise);
  const ThreadContext::Draw draw = thread.draw(noise.groups);
  const bool mask = op.distribution == graph::RandomNoise::Distribution::kMask;
  (mask ? thread.kernels.mask_noise : thread.kernels.normal_noise)(
      {thread.data(op.noise), noise.ld, thread.own_rows(op.noise), thread.columns(op.noise), op.seed, draw.step,
       draw.first, op.shared, op.rate, op.mean, op.scale});
}

}  // namespace

void add_elementwise(OperationRegistry& all) {
  all.add<graph::ElementwiseActivation>(activate, like<&graph::ElementwiseActivation::x>);
  all.add<graph::ElementwiseActivationGradient>(activation_gradient, like<&graph::ElementwiseActivationGradient::dy>);
  all.add<graph::RowActivation>(activate_rows, by_samples);
  all.add<graph::RowActivationGradient>(row_activation_gradient, by_samples);
  all.add<graph::Dropout>(dropout, like<&graph::Dropout::x>);
  all.add<graph::RandomNoise>(random_noise, by_samples);
}

}  // namespace engine::cpu
