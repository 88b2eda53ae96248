// Operations on elements, and activations of rows.
#include "graph/operations/elementwise.h"

#include <algorithm>
#include <cstring>

#include "cpu/scheduler.h"
#include "graph/operations/activation.h"
#include "graph/operations/activity_penalty.h"
#include "graph/operations/random_noise.h"

namespace engine {
namespace {

void activate(const graph::ElementwiseActivation& op, const Share& share) {
  Elementwise arguments = share.elementwise(op.x, op.y);
  arguments.parameters = op.parameters.data();
  share.kernels.activation_forward[index(op.activation)](arguments);
}

void activation_gradient(const graph::ElementwiseActivationGradient& op, const Share& share) {
  Elementwise arguments = share.elementwise(op.dy, op.dx, op.saved);
  arguments.parameters = op.parameters.data();
  share.kernels.activation_backward[index(op.activation)](arguments);
}

void activate_rows(const graph::RowActivation& op, const Share& share) {
  const Placement& y = share.shape(op.y);
  share.kernels.row_activation_forward[index(op.activation) - kElementwiseActivations](
      {share.data(op.x), nullptr, share.data(op.y), y.ld, y.columns, share.rows(op.y)});
}

void row_activation_gradient(const graph::RowActivationGradient& op, const Share& share) {
  const Placement& dx = share.shape(op.dx);
  share.kernels.row_activation_backward[index(op.activation) - kElementwiseActivations](
      {share.data(op.dy), share.data(op.y), share.data(op.dx), dx.ld, dx.columns, share.rows(op.dx)});
}

void affine(const graph::Affine& op, const Share& share) {
  share.kernels.affine(share.elementwise(op.x, op.y), op.scale, op.offset);
}

/// Augmented images stay such through a factor: zeros stay zeros.
void schedule_affine(Scheduler& scheduler, const graph::Affine& op) {
  scheduler.add<SimpleStep<graph::Affine>>(op, scheduler.split_like(op, op.x), affine);
  if (scheduler.is_augmented(op.x) && op.offset == 0.0f) scheduler.set_augmented(op.y);
}

void fill_zeros(const graph::FillZeros& op, const Share& share) {
  const Placement& y = share.shape(op.y);
  const Range own = share.rows(op.y);
  for (int64_t b = own.begin; b < own.end; ++b) std::fill_n(share.data(op.y) + b * y.ld, y.ld, 0.0f);
}

void multiply(const graph::Multiply& op, const Share& share) {
  share.kernels.multiply(share.elementwise(op.x, op.y, op.factor));
}

void sum(const graph::Sum& op, const Share& share) {
  for (size_t i = 1; i < op.terms.size(); ++i) {
    share.kernels.add(share.elementwise(i == 1 ? op.terms[0] : op.y, op.y, op.terms[i]));
  }
}

Split split_sum(const Scheduler& scheduler, const graph::Sum& op) { return scheduler.split_like(op, op.terms[0]); }

void dropout(const graph::Dropout& op, const Share& share) {
  const Placement& y = share.shape(op.y);
  const Share::Draw draw = share.draw(y.groups);
  share.kernels.dropout_forward({share.data(op.x), share.data(op.y), share.data(op.mask), y.ld, share.rows(op.y),
                                 share.columns(op.y), op.rate, op.seed, draw.step, draw.first});
}

void random_noise(const graph::RandomNoise& op, const Share& share) {
  const Placement& noise = share.shape(op.noise);
  const Share::Draw draw = share.draw(noise.groups);
  const bool mask = op.distribution == graph::RandomNoise::Distribution::kMask;
  (mask ? share.kernels.mask_noise
        : share.kernels.normal_noise)({share.data(op.noise), noise.ld, share.rows(op.noise), share.columns(op.noise),
                                       op.seed, draw.step, draw.first, op.shared, op.rate, op.mean, op.scale});
}

void add_noise(const graph::AddNoise& op, const Share& share) {
  share.kernels.add(share.elementwise(op.x, op.y, op.noise));
}

void alpha_dropout(const graph::AlphaDropout& op, const Share& share) {
  share.kernels.alpha_dropout(share.elementwise(op.x, op.y, op.mask), op.kept, op.dropped);
}

void activity_penalty(const graph::ActivityPenalty& op, const Share& share) {
  const Placement& x = share.shape(op.x);
  share.kernels.row_penalties({share.data(op.x), x.ld, x.columns, share.rows(op.x), op.l1, op.l2, share.data(op.sums)});
}

void activity_penalty_gradient(const graph::ActivityPenaltyGradient& op, const Share& share) {
  const Elementwise arguments = share.elementwise(op.dy, op.dx);
  const Range rows = arguments.rows, columns = arguments.columns;
  if (arguments.x != arguments.y && !empty(columns)) {
    const auto bytes = static_cast<size_t>(columns.end - columns.begin) * sizeof(float);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      std::memcpy(arguments.y + b * arguments.ld + columns.begin,
                  arguments.x + b * share.shape(op.dy).ld + columns.begin, bytes);
    }
  }
  const auto samples = static_cast<double>(share.batch.rows);
  share.kernels.penalty_gradient({share.data(op.x), arguments.y, arguments.ld, rows, columns}, op.l1 / samples,
                                 op.l2 / samples);
}

}  // namespace

void add_elementwise(Implementations& all) {
  all.add<graph::ElementwiseActivation>(activate, like<&graph::ElementwiseActivation::x>);
  all.add<graph::ElementwiseActivationGradient>(activation_gradient, like<&graph::ElementwiseActivationGradient::dy>);
  all.add<graph::RowActivation>(activate_rows, by_samples);
  all.add<graph::RowActivationGradient>(row_activation_gradient, by_samples);
  all.add<graph::Affine>(schedule_affine);
  all.add<graph::FillZeros>(fill_zeros, by_samples);
  all.add<graph::Multiply>(multiply, like<&graph::Multiply::x>);
  all.add<graph::Sum>(sum, split_sum);
  all.add<graph::Dropout>(dropout, like<&graph::Dropout::x>);
  all.add<graph::RandomNoise>(random_noise, by_samples);
  all.add<graph::AddNoise>(add_noise, like<&graph::AddNoise::x>);
  all.add<graph::AlphaDropout>(alpha_dropout, like<&graph::AlphaDropout::x>);
  all.add<graph::ActivityPenalty>(activity_penalty, by_samples);
  all.add<graph::ActivityPenaltyGradient>(activity_penalty_gradient, like<&graph::ActivityPenaltyGradient::dy>);
}

}  // namespace engine
