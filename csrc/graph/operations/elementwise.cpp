#include "graph/operations/elementwise.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/print.h"
#include "graph/sizes.h"

namespace engine::graph {

std::string Affine::attributes() const { return "scale=" + short_number(scale) + " offset=" + short_number(offset); }

void Affine::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<Affine>();
  gradient.x = dy;
  gradient.y = gradients.graph().add_like(dy);
  gradient.scale = scale;
  gradients.contribute(x, gradient.y);
}

void Multiply::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<Multiply>();
  gradient.x = dy;
  gradient.factor = factor;
  gradient.y = gradients.graph().add_like(dy);
  gradients.contribute(x, gradient.y);
}

std::vector<Operand> Sum::operands() const {
  std::vector<Operand> all{writes(y, kSamples, 'n')};
  for (const ValueId term : terms) all.push_back(reads(term, kSamples, 'n'));
  return all;
}

void Sum::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue) return;
  for (const ValueId term : terms) gradients.contribute(term, dy);
}

namespace {

struct RescalingLayer final : Layer {
  float scale = 1.0f, offset = 0.0f;

  int64_t output_size(const LayerInputs& inputs) const override { return inputs.size(); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    auto& affine = builder.add<Affine>();
    affine.x = inputs[0];
    affine.y = builder.graph().add_like(inputs[0]);
    affine.scale = scale;
    affine.offset = offset;
    return affine.y;
  }
};

struct AddLayer final : Layer {
  int64_t output_size(const LayerInputs& inputs) const override {
    for (const int64_t size : inputs.sizes) {
      if (size != inputs.size()) refuse("a sum needs inputs of equal size");
    }
    return inputs.size();
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (inputs.size() == 1) return inputs[0];
    std::vector<ValueId> terms;
    for (const ValueId input : inputs) terms.push_back(builder.with_rows(input, builder.value(inputs[0]).groups));
    auto& sum = builder.add<Sum>();
    sum.terms = terms;
    sum.y = builder.graph().add_like(inputs[0]);
    return sum.y;
  }
};

}  // namespace

std::shared_ptr<Layer> read_rescaling(const Attributes& attributes) {
  auto layer = std::make_shared<RescalingLayer>();
  layer->scale = attributes.single("scale");
  layer->offset = attributes.single("offset", 0.0f);
  return layer;
}

std::shared_ptr<Layer> read_add(const Attributes&) { return std::make_shared<AddLayer>(); }

}  // namespace engine::graph
