// Penalties on what passes between layers.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// sums[b] = l1 * sum over n of |x[b,n]| + l2 * sum over n of x[b,n]^2
struct ActivityPenalty final : Operation {
  ValueId x = kNoValue, sums = kNoValue;
  double l1 = 0.0, l2 = 0.0;

  const char* name() const override { return "activity_penalty"; }
  std::vector<Operand> operands() const override {
    return {writes(sums, kSamples, kWhole), reads(x, kSamples, kWhole)};
  }
  void differentiate(Differentiation& gradients) const override;
};

/// dx[b,n] = dy[b,n] + (l1 sign(x[b,n]) + 2 l2 x[b,n]) / samples of the batch, as Keras divides
struct ActivityPenaltyGradient final : Operation {
  ValueId dy = kNoValue, x = kNoValue, dx = kNoValue;
  double l1 = 0.0, l2 = 0.0;

  const char* name() const override { return "activity_penalty_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dx, kSamples, 'n'), reads(dy, kSamples, 'n'), reads(x, kSamples, 'n')};
  }
  InPlace in_place() const override { return {dy, dx}; }
};

std::shared_ptr<Layer> read_activity_regularization(const Attributes& attributes);

}  // namespace engine::graph
