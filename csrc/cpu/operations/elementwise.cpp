// Operations on elements, and activations of rows.
#include "graph/operations/elementwise.h"

#include <algorithm>
#include <cstring>

#include "cpu/strides.h"
#include "graph/operations/activation.h"
#include "graph/operations/random_noise.h"

namespace engine {
namespace {

void activate(const graph::ElementwiseActivation& op, const ThreadContext& thread) {
  Elementwise arguments = thread.elementwise(op.x, op.y);
  arguments.parameters = op.parameters.data();
  thread.kernels.activation_forward[index(op.activation)](arguments);
}

void activation_gradient(const graph::ElementwiseActivationGradient& op, const ThreadContext& thread) {
  Elementwise arguments = thread.elementwise(op.dy, op.dx, op.saved);
  arguments.parameters = op.parameters.data();
  thread.kernels.activation_backward[index(op.activation)](arguments);
}

void activate_rows(const graph::RowActivation& op, const ThreadContext& thread) {
  const Placement& y = thread.shape(op.y);
  thread.kernels.row_activation_forward[index(op.activation) - kElementwiseActivations](
      {thread.data(op.x), nullptr, thread.data(op.y), y.ld, y.columns, thread.rows(op.y)});
}

void row_activation_gradient(const graph::RowActivationGradient& op, const ThreadContext& thread) {
  const Placement& dx = thread.shape(op.dx);
  thread.kernels.row_activation_backward[index(op.activation) - kElementwiseActivations](
      {thread.data(op.dy), thread.data(op.y), thread.data(op.dx), dx.ld, dx.columns, thread.rows(op.dx)});
}

void affine(const graph::Affine& op, const ThreadContext& thread) {
  thread.kernels.affine(thread.elementwise(op.x, op.y), op.scale, op.offset);
}

/// Augmented images stay such through a factor: zeros stay zeros.
void schedule_affine(Scheduler& scheduler, const graph::Affine& op) {
  scheduler.add<SimpleStep<graph::Affine>>(op, scheduler.split_like(op, op.x), affine);
  if (scheduler.is_augmented(op.x) && op.offset == 0.0f) scheduler.set_augmented(op.y);
}

void fill_zeros(const graph::FillZeros& op, const ThreadContext& thread) {
  const graph::Value& value = thread.schedule.value(op.y);
  if (value.kind == graph::Value::Kind::kArray) {
    const graph::Array array{op.y, value.shape};
    Strided y = strided(array, thread);
    y.restrict_to(0, own_rows(thread, array, graph::row_loop(thread.schedule.graph(), array)));
    return fill_elements(y, 0.0f);
  }
  const Placement& y = thread.shape(op.y);
  const Range own = thread.rows(op.y);
  for (int64_t b = own.begin; b < own.end; ++b) std::fill_n(thread.data(op.y) + b * y.ld, y.ld, 0.0f);
}

Split split_zeros(const Scheduler& scheduler, const graph::FillZeros& op) {
  const graph::Value& value = scheduler.value(op.y);
  if (value.kind != graph::Value::Kind::kArray) return Split::over(kSamples);
  const graph::Array array{op.y, value.shape};
  return split_array(scheduler, op, array, graph::row_loop(scheduler.graph(), array));
}

void multiply(const graph::Multiply& op, const ThreadContext& thread) {
  thread.kernels.multiply(thread.elementwise(op.x, op.y, op.factor));
}

void sum(const graph::Sum& op, const ThreadContext& thread) {
  for (size_t i = 1; i < op.terms.size(); ++i) {
    thread.kernels.add(thread.elementwise(i == 1 ? op.terms[0] : op.y, op.y, op.terms[i]));
  }
}

/// Like a term whose columns the threads have divided, if there is one: a product that has read all of another term has
/// waited for it already.
Split split_sum(const Scheduler& scheduler, const graph::Sum& op) {
  const auto by_column = std::find_if(op.terms.begin(), op.terms.end(),
                                      [&](ValueId term) { return scheduler.is_divided_by_column(term); });
  return scheduler.split_like(op, by_column == op.terms.end() ? op.terms[0] : *by_column);
}

void dropout(const graph::Dropout& op, const ThreadContext& thread) {
  const Placement& y = thread.shape(op.y);
  const ThreadContext::Draw draw = thread.draw(y.groups);
  thread.kernels.dropout_forward({thread.data(op.x), thread.data(op.y), thread.data(op.mask), y.ld, thread.rows(op.y),
                                  thread.columns(op.y), op.rate, op.seed, draw.step, draw.first});
}

void random_noise(const graph::RandomNoise& op, const ThreadContext& thread) {
  const Placement& noise = thread.shape(op.noise);
  const ThreadContext::Draw draw = thread.draw(noise.groups);
  const bool mask = op.distribution == graph::RandomNoise::Distribution::kMask;
  (mask ? thread.kernels.mask_noise : thread.kernels.normal_noise)(
      {thread.data(op.noise), noise.ld, thread.rows(op.noise), thread.columns(op.noise), op.seed, draw.step, draw.first,
       op.shared, op.rate, op.mean, op.scale});
}

void add_noise(const graph::AddNoise& op, const ThreadContext& thread) {
  thread.kernels.add(thread.elementwise(op.x, op.y, op.noise));
}

void alpha_dropout(const graph::AlphaDropout& op, const ThreadContext& thread) {
  thread.kernels.alpha_dropout(thread.elementwise(op.x, op.y, op.mask), op.kept, op.dropped);
}

}  // namespace

void add_elementwise(Implementations& all) {
  all.add<graph::ElementwiseActivation>(activate, like<&graph::ElementwiseActivation::x>);
  all.add<graph::ElementwiseActivationGradient>(activation_gradient, like<&graph::ElementwiseActivationGradient::dy>);
  all.add<graph::RowActivation>(activate_rows, by_samples);
  all.add<graph::RowActivationGradient>(row_activation_gradient, by_samples);
  all.add<graph::Affine>(schedule_affine);
  all.add<graph::FillZeros>(fill_zeros, split_zeros);
  all.add<graph::Multiply>(multiply, like<&graph::Multiply::x>);
  all.add<graph::Sum>(sum, split_sum);
  all.add<graph::Dropout>(dropout, like<&graph::Dropout::x>);
  all.add<graph::RandomNoise>(random_noise, by_samples);
  all.add<graph::AddNoise>(add_noise, like<&graph::AddNoise::x>);
  all.add<graph::AlphaDropout>(alpha_dropout, like<&graph::AlphaDropout::x>);
}

}  // namespace engine
