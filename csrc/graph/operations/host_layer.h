// Layers, and penalties on what passes between layers, that the caller computes.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = f(x), and what the layer adds to the loss of each sample; `kept` says which of the output's rows count later
struct HostLayer final : HostOperation {
  int node = -1;
  ValueId x = kNoValue, y = kNoValue;
  ValueId row_mask = kNoValue;  // mask of the input, (samples, rows)
  ValueId kept = kNoValue;      // mask of the output
  ValueId losses = kNoValue;
  std::vector<int> weights;  // its variables that learn

  const char* name() const override { return "host_layer"; }
  std::vector<Operand> operands() const override;
  bool learns() const override { return !weights.empty(); }
  void differentiate(Differentiation& gradients) const override;
};

/// The gradients by x and by the weights
struct HostLayerGradient final : HostOperation {
  int node = -1;
  ValueId dy = kNoValue, x = kNoValue, row_mask = kNoValue, dx = kNoValue;
  std::vector<ValueId> dweights;

  const char* name() const override { return "host_layer_gradient"; }
  std::vector<Operand> operands() const override;
};

/// losses[b] = a penalty on x[b,:]
struct HostActivityPenalty final : HostOperation {
  int node = -1;
  ValueId x = kNoValue, losses = kNoValue;

  const char* name() const override { return "host_activity_penalty"; }
  std::vector<Operand> operands() const override {
    return {writes(losses, kSamples, kWhole), reads(x, kSamples, kWhole)};
  }
  void differentiate(Differentiation& gradients) const override;
};

/// dx = dy + the gradient of the penalty by x, in place
struct HostActivityPenaltyGradient final : HostOperation {
  int node = -1;
  ValueId dx = kNoValue, x = kNoValue;

  const char* name() const override { return "host_activity_penalty_gradient"; }
  std::vector<Operand> operands() const override { return {updates(dx, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
};

std::shared_ptr<Layer> read_custom(const Attributes& attributes);
std::shared_ptr<Layer> read_activity_regularization(const Attributes& attributes);

}  // namespace engine::graph
