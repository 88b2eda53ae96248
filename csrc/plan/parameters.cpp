// Where each weight lies in the parameter arena.
#include "plan/plan.h"

namespace engine {

Parameters lay_out(const ModelSpec& model) {
  Parameters parameters;
  const auto add = [&](int64_t rows, int64_t columns, bool vector, double l2) {
    parameters.variables.push_back({rows, columns, parameters.size, vector, l2});
    parameters.size += rows * round_up(columns, kLane);
    return static_cast<int>(parameters.variables.size()) - 1;
  };
  int64_t width = model.input_size;
  for (const LayerSpec& layer : model.layers) {
    Parameters::Layer entry;
    if (layer.kind == LayerSpec::Kind::kDense) {
      entry.kernel = add(width, layer.units, false, layer.trainable ? layer.kernel_l2 : 0.0);
      if (layer.use_bias) entry.bias = add(1, layer.units, true, layer.trainable ? layer.bias_l2 : 0.0);
      width = layer.units;
    }
    parameters.layers.push_back(entry);
  }
  return parameters;
}

}  // namespace engine
