// Masks, and the mean or maximum over the rows of a sample.
#pragma once
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// factors[b,i] = 1 for each row i of sample b that holds another number than `value`, else 0. With `shares`, the rows
/// that are kept share 1 among them, so that a sum over them becomes their mean.
struct RowFactors final : Operation {
  ValueId x = kNoValue, factors = kNoValue;
  float value = 0.0f;
  bool shares = false;

  const char* name() const override { return "row_factors"; }
  std::vector<Operand> operands() const override {
    return {writes(factors, kSamples, kWhole), reads(x, kSamples, kWhole)};
  }
  void differentiate(Differentiation&) const override {}
};

/// y[b,i,n] = factors[b,i] x[b,i,n]. Where x has a single row for each sample, all rows of y are made from it; without
/// factors, `scale` is used in their place.
struct ScaleRows final : Operation {
  ValueId x = kNoValue, factors = kNoValue, y = kNoValue;
  float scale = 1.0f;

  const char* name() const override { return "scale_rows"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole), reads(factors, kSamples, kWhole)};
  }
  InPlace in_place() const override { return {x, y}; }
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,n] = sum over i of factors[b,i] x[b,i,n], or `scale` times the sum where there are no factors
struct MeanOfRows final : Operation {
  ValueId x = kNoValue, factors = kNoValue, y = kNoValue;
  float scale = 1.0f;

  const char* name() const override { return "mean_of_rows"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole), reads(factors, kSamples, kWhole)};
  }
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,n] = max over i of x[b,i,n]
struct MaxOfRows final : Operation {
  ValueId x = kNoValue, y = kNoValue;

  const char* name() const override { return "max_of_rows"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
  void differentiate(Differentiation& gradients) const override;
};

/// dx[b,i,n] = dy[b,n], shared by the rows that are as large as y[b,n]
struct MaxOfRowsGradient final : Operation {
  ValueId dy = kNoValue, x = kNoValue, y = kNoValue, dx = kNoValue;

  const char* name() const override { return "max_of_rows_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dx, kSamples, kWhole), reads(dy, kSamples, kWhole), reads(x, kSamples, kWhole),
            reads(y, kSamples, kWhole)};
  }
  void differentiate(Differentiation& gradients) const override;
};

std::shared_ptr<Layer> read_mean(const Attributes& attributes);
std::shared_ptr<Layer> read_max(const Attributes& attributes);
std::shared_ptr<Layer> read_mask(const Attributes& attributes);

}  // namespace engine::graph
