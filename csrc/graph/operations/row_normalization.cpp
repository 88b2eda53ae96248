#include "graph/operations/row_normalization.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/normalization_gradient.h"
#include "graph/sizes.h"

namespace engine::graph {

void NormalizeRows::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  if (gradients.within() && !unit) {
    const Array values{x, shape_of(gradients.graph(), x)};
    gradients.contribute(values, add_normalization_gradient(gradients.graph(), values, dy, 1, epsilon, centred));
    return;
  }
  auto& gradient = gradients.graph().add<NormalizeRowsGradient>();
  gradient.dy = dy;
  gradient.y = y;
  gradient.factors = factors;
  gradient.dx = gradients.graph().add_like(dy);
  gradient.epsilon = epsilon;
  gradient.centred = centred;
  gradient.unit = unit;
  gradients.contribute(x, gradient.dx);
}

namespace {

/// Of each row: what it was multiplied by, and the weight of the projection in the gradient.
constexpr int64_t kFactors = 2;

struct RowNormalizationLayer final : Layer {
  float epsilon = 0.0f;
  bool centred = true, unit = false;

  int64_t output_size(const LayerInputs& inputs) const override {
    row_of(inputs.size(), groups);
    return inputs.size();
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], groups);
    auto& normalize = builder.add<NormalizeRows>();
    normalize.x = x;
    normalize.y = builder.graph().add_like(x);
    normalize.factors = builder.graph().add_batch(groups, kFactors);
    normalize.epsilon = epsilon;
    normalize.centred = centred;
    normalize.unit = unit;
    return normalize.y;
  }
};

}  // namespace

std::shared_ptr<Layer> read_row_normalization(const Attributes& attributes) {
  auto layer = std::make_shared<RowNormalizationLayer>();
  layer->epsilon = static_cast<float>(attributes.nonnegative("epsilon"));
  layer->centred = attributes.flag("centred");
  layer->unit = attributes.flag("unit", false);
  return layer;
}

}  // namespace engine::graph
