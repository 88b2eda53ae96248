// Normalization of each row by its own mean and variance, or by its norm.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y[b,:] = (x[b,:] - mean) * factor; the two factors of each row are kept for the gradient
struct NormalizeRows final : Operation {
  ValueId x = kNoValue, y = kNoValue, factors = kNoValue;
  float epsilon = 0.0f;
  bool centred = true;  // whether the mean is subtracted
  bool unit = false;    // whether rows get norm 1 instead of variance 1

  const char* name() const override { return "normalize_rows"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, kWhole), writes(factors, kSamples, kWhole), reads(x, kSamples, kWhole)};
  }
  void differentiate(Differentiation& gradients) const override;
};

struct NormalizeRowsGradient final : Operation {
  ValueId dy = kNoValue, y = kNoValue, factors = kNoValue, dx = kNoValue;
  float epsilon = 0.0f;
  bool centred = true, unit = false;

  const char* name() const override { return "normalize_rows_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dx, kSamples, kWhole), reads(dy, kSamples, kWhole), reads(y, kSamples, kWhole),
            updates(factors, kSamples, kWhole)};
  }
  InPlace in_place() const override { return {dy, dx}; }
};

std::shared_ptr<Layer> read_row_normalization(const Attributes& attributes);

}  // namespace engine::graph
