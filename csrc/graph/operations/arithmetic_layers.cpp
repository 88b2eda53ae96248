#include "graph/operations/arithmetic_layers.h"

#include "graph/builder.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

struct RescalingLayer final : Layer {
  Rescaling rescaling{1.0f, 0.0f};

  int64_t output_size(const LayerInputs& inputs) const override { return inputs.size(); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const Array x = as_array(builder.graph(), inputs[0]);
    return add_map(builder.graph(), {x}, x.shape, code_of(rescaling), x.value).value;
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
    const int64_t groups = builder.value(inputs[0]).groups;
    std::vector<Array> terms;
    for (const ValueId input : inputs) terms.push_back(as_array(builder.graph(), builder.with_rows(input, groups)));
    return add_terms(builder.graph(), terms).value;
  }
};

}  // namespace

std::shared_ptr<Layer> read_rescaling(const Attributes& attributes) {
  auto layer = std::make_shared<RescalingLayer>();
  layer->rescaling = {attributes.single("scale"), attributes.single("offset", 0.0f)};
  return layer;
}

std::shared_ptr<Layer> read_add(const Attributes&) { return std::make_shared<AddLayer>(); }

}  // namespace engine::graph
