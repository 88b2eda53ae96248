// Dense layers: products with a kernel, and their gradients.
#pragma once
#include "formulas/kinds.h"
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y[b,n] = activation(sum over k of x[b,k] kernel[k,n], + bias[n])
struct Dense final : Operation {
  ValueId x = kNoValue, kernel = kNoValue, bias = kNoValue, y = kNoValue;
  Activation activation = Activation::kLinear;  // one of those that products fuse
  Precision precision = Precision::kFloat32;
  bool trainable = true;

  const char* name() const override { return "dense"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, 'n'), reads(x, kSamples, 'k'), reads(kernel, 'k', 'n'), reads(bias, kWhole, 'n')};
  }
  std::string attributes() const override;
  bool learns() const override { return trainable; }
  void differentiate(Differentiation& gradients) const override;
};

/// dx[b,k] = activation'(x_saved[b,k]) * (addend[b,k] + sum over n of dz[b,n] kernel[k,n]), where `activation` is that
/// of the operation which computed x, and `addend` the gradient by x through other layers
struct DenseInputGradient final : Operation {
  ValueId dz = kNoValue, kernel = kNoValue, addend = kNoValue, x_saved = kNoValue, dx = kNoValue;
  Activation activation = Activation::kLinear;
  Precision precision = Precision::kFloat32;
  bool trainable = true;

  const char* name() const override { return "dense_input_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dx, kSamples, 'k'), reads(dz, kSamples, 'n'), reads(kernel, 'k', 'n'), reads(addend, kSamples, 'k'),
            reads(x_saved, kSamples, 'k')};
  }
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// dkernel[k,n] = sum over b of x[b,k] dz[b,n], and dbias[n] = sum over b of dz[b,n]. Where `steps` is set, the
/// optimizer steps the kernel and the bias while their gradients are still in registers, and the gradients are never
/// stored.
struct DenseWeightGradient final : Operation {
  ValueId x = kNoValue, dz = kNoValue;
  ValueId kernel = kNoValue, bias = kNoValue;
  ValueId dkernel = kNoValue, dbias = kNoValue;  // kNoValue where the operation steps the weights
  bool steps = false;
  Precision precision = Precision::kFloat32;

  const char* name() const override { return steps ? "dense_weight_step" : "dense_weight_gradient"; }
  std::vector<Operand> operands() const override {
    if (steps) {
      return {updates(kernel, 'k', 'n'), updates(bias, kWhole, 'n'), reads(x, kSamples, 'k'), reads(dz, kSamples, 'n')};
    }
    return {writes(dkernel, 'k', 'n'), writes(dbias, kWhole, 'n'), reads(x, kSamples, 'k'), reads(dz, kSamples, 'n')};
  }
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// The field "precision" of a layer, one of kPrecisionNames; float32 where it is missing.
Precision read_precision(const Attributes& attributes);

std::shared_ptr<Layer> read_dense(const Attributes& attributes);

}  // namespace engine::graph
