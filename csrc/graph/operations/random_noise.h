// Random numbers in training: dropout, and noise, which maps multiply with or add to what passes through.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// mask[b,n] = 0 with probability `rate`, else 1 / (1 - rate); y = mask x
struct Dropout final : Operation {
  ValueId x = kNoValue, mask = kNoValue, y = kNoValue;
  double rate = 0.0;
  uint64_t seed = 0;

  const char* name() const override { return "dropout"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, 'n'), writes(mask, kSamples, 'n'), reads(x, kSamples, 'n')};
  }
  std::string attributes() const override;
  InPlace in_place() const override { return {x, y}; }
  void differentiate(Differentiation& gradients) const override;
};

/// noise[b,n]: 0 with probability `rate` and else `scale`, or normal numbers with this mean and deviation `scale`
struct RandomNoise final : Operation {
  enum class Distribution { kMask, kNormal };
  ValueId noise = kNoValue;
  Distribution distribution = Distribution::kMask;
  double rate = 0.0;
  float mean = 0.0f, scale = 1.0f;
  bool shared = false;  // whether all samples get the same numbers
  uint64_t seed = 0;

  const char* name() const override { return "random_noise"; }
  std::vector<Operand> operands() const override { return {writes(noise, kSamples, 'n')}; }
  std::string attributes() const override;
};

std::shared_ptr<Layer> read_dropout(const Attributes& attributes);
std::shared_ptr<Layer> read_noise(const Attributes& attributes);

}  // namespace engine::graph
