// Activation functions, of each element or of each row.
#pragma once
#include <array>

#include "formulas/kinds.h"
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

using ActivationParameters = std::array<float, kMaxActivationParameters>;

/// y[b,n] = f(x[b,n]), one element at a time
struct ElementwiseActivation final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  Activation activation = Activation::kLinear;
  ActivationParameters parameters = {};

  const char* name() const override { return "activation"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, 'n'), reads(x, kSamples, 'n')}; }
  std::string attributes() const override;
  InPlace in_place() const override { return {x, y}; }
  void differentiate(Differentiation& gradients) const override;
};

/// dx[b,n] = f'(saved[b,n]) dy[b,n], where `saved` is the input of the activation or its output (`saves_input`)
struct ElementwiseActivationGradient final : Operation {
  ValueId dy = kNoValue, saved = kNoValue, dx = kNoValue;
  Activation activation = Activation::kLinear;
  ActivationParameters parameters = {};

  const char* name() const override { return "activation_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dx, kSamples, 'n'), reads(dy, kSamples, 'n'), reads(saved, kSamples, 'n')};
  }
  std::string attributes() const override;
  InPlace in_place() const override { return {dy, dx}; }
  void differentiate(Differentiation& gradients) const override;
};

/// y[b,:] = f(x[b,:]), one row at a time, such as softmax
struct RowActivation final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  Activation activation = Activation::kSoftmax;

  const char* name() const override { return "row_activation"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
  std::string attributes() const override;
  InPlace in_place() const override { return {x, y}; }
  void differentiate(Differentiation& gradients) const override;
};

/// dx[b,:] = dy[b,:] times the Jacobian of f where its result is y[b,:]
struct RowActivationGradient final : Operation {
  ValueId dy = kNoValue, y = kNoValue, dx = kNoValue;
  Activation activation = Activation::kSoftmax;

  const char* name() const override { return "row_activation_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dx, kSamples, kWhole), reads(dy, kSamples, kWhole), reads(y, kSamples, kWhole)};
  }
  std::string attributes() const override;
  InPlace in_place() const override { return {dy, dx}; }
  void differentiate(Differentiation& gradients) const override;
};

/// The activation that a layer names, and its parameters. Throws std::invalid_argument where their number is wrong.
Activation read_activation(const Attributes& attributes, ActivationParameters& parameters);

/// `x` through an activation; `x` itself for the linear one. Row-wise activations work on `groups` rows of each sample.
ValueId add_activation(Builder& builder, ValueId x, Activation activation, const ActivationParameters& parameters,
                       int64_t groups);

std::shared_ptr<Layer> read_activation_layer(const Attributes& attributes);

}  // namespace engine::graph
