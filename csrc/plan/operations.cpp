#include "plan/operations.h"

#include <cstddef>

namespace engine {
namespace {

void add_activation(std::vector<Operation>& operations, const LayerSpec& spec, int layer, int64_t width) {
  if (spec.activation == Activation::kLinear) return;
  if (spec.activation == Activation::kSoftmax) {
    operations.push_back({Operation::Kind::kSoftmax, &spec, layer, width, spec.activation});
    return;
  }
  Operation* last = operations.empty() ? nullptr : &operations.back();
  if (last && last->kind == Operation::Kind::kDense && last->activation == Activation::kLinear) {
    last->activation = spec.activation;
    return;
  }
  operations.push_back({Operation::Kind::kActivation, &spec, layer, width, spec.activation});
}

}  // namespace

std::vector<Operation> to_operations(const ModelSpec& model, bool drops_out) {
  std::vector<Operation> operations;
  int64_t width = model.input_size;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const LayerSpec& spec = model.layers[i];
    const int layer = static_cast<int>(i);
    switch (spec.kind) {
      case LayerSpec::Kind::kDense:
        width = spec.units;
        operations.push_back({Operation::Kind::kDense, &spec, layer, width});
        operations.back().trainable = spec.trainable;
        add_activation(operations, spec, layer, width);
        break;
      case LayerSpec::Kind::kActivation:
        add_activation(operations, spec, layer, width);
        break;
      case LayerSpec::Kind::kDropout:
        if (drops_out && spec.rate > 0.0) operations.push_back({Operation::Kind::kDropout, &spec, layer, width});
        break;
      case LayerSpec::Kind::kRescaling:
        operations.push_back({Operation::Kind::kAffine, &spec, layer, width});
        break;
    }
  }
  return operations;
}

}  // namespace engine
