// Where weights and scratch lie in their arenas.
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "plan/operations.h"
#include "plan/plan.h"

namespace engine {
namespace {

/// Floats of scratch: 4 TiB. Larger is a slip of the pen, and would overflow the arithmetic of offsets.
constexpr int64_t kMostScratch = int64_t{1} << 40;

}  // namespace

Parameters lay_out(const ModelSpec& model) {
  Parameters parameters;
  const auto add = [&](std::vector<int64_t> shape, const VariableSpec& asked) {
    const int64_t columns = shape.back(), rows = shape.size() > 1 ? shape.front() : 1;
    parameters.variables.push_back({rows, columns, parameters.size, std::move(shape), asked});
    parameters.size += rows * round_up(columns, kLane);
    return static_cast<int>(parameters.variables.size()) - 1;
  };
  int64_t size = model.input_size;
  for (const LayerSpec& layer : model.layers) {
    Parameters::Layer entry;
    if (layer.kind == LayerSpec::Kind::kDense) {
      const int64_t inputs = size / layer.groups;
      entry.kernel = add({inputs, layer.units}, layer.trainable ? layer.kernel : VariableSpec{});
      if (layer.use_bias) entry.bias = add({layer.units}, layer.trainable ? layer.bias : VariableSpec{});
    }
    size = size_after(layer, size);
    parameters.layers.push_back(entry);
  }
  return parameters;
}

int add_buffer(Plan& plan, int64_t rows, int64_t columns) {
  const int64_t ld = leading_dimension(columns);
  if (ld > kMostScratch / rows || plan.arena_size > kMostScratch) {
    throw std::length_error("a batch of " + std::to_string(plan.max_rows) +
                            " rows needs more than 4 TiB of scratch memory: use a smaller `batch_size`");
  }
  plan.buffers.push_back({rows, columns, ld, plan.arena_size});
  plan.arena_size += rows * ld;
  return static_cast<int>(plan.buffers.size()) - 1;
}

int add_nonzeros(Plan& plan, int64_t inputs) {
  const bool training = plan.mode == Plan::Mode::kTrain;
  const int buffer = add_buffer(plan, 1, NonZeros::scratch(plan.max_rows, inputs, training));
  give_copies(plan, buffer);
  return buffer;
}

int add_pointers(Plan& plan) {
  constexpr auto kFloats = static_cast<int64_t>(sizeof(void*) / sizeof(float));
  const int buffer = add_buffer(plan, 2, plan.max_rows * kFloats);
  give_copies(plan, buffer);
  return buffer;
}

void give_copies(Plan& plan, int buffer) {
  Buffer& shape = plan.buffers[static_cast<size_t>(buffer)];
  shape.copy_stride = leading_dimension(shape.rows * shape.ld);
  plan.arena_size += plan.threads * shape.copy_stride - shape.rows * shape.ld;
}

}  // namespace engine
