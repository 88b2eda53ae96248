// Where weights and scratch lie in their arenas.
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/packed_blocks.h"
#include "plan/operations.h"
#include "plan/plan.h"

namespace engine {
namespace {

/// Floats of scratch: 4 TiB. Larger is a slip of the pen, and would overflow the arithmetic of offsets.
constexpr int64_t kMostScratch = int64_t{1} << 40;

/// Puts the variables of layer `first` in the place of those added last, which are like them.
Parameters::Layer share(Parameters& parameters, size_t first, const std::vector<size_t>& begins) {
  std::vector<Variable>& variables = parameters.variables;
  const size_t own = begins.back(), count = variables.size() - own, begin = begins[first];
  for (size_t i = 0; i < count; ++i) {
    if (begin + i >= begins[first + 1] || variables[begin + i].rows != variables[own + i].rows ||
        variables[begin + i].shape != variables[own + i].shape) {
      throw std::invalid_argument("'first' must be a layer with variables of the same shapes");
    }
    variables[begin + i].shared = true;
    parameters.size -= variables[own + i].floats();
  }
  variables.erase(variables.begin() + static_cast<std::ptrdiff_t>(own), variables.end());
  return count > 0 ? parameters.layers[first] : Parameters::Layer{};
}

[[noreturn]] void refuse_scratch(const Plan& plan) {
  throw std::length_error("a batch of " + std::to_string(plan.max_rows) +
                          " rows needs more than 4 TiB of scratch memory: use a smaller `batch_size`");
}

}  // namespace

Parameters lay_out(const ModelSpec& model) {
  Parameters parameters;
  const auto add = [&](int64_t rows, int64_t columns, std::vector<int64_t> shape, const VariableSpec& asked) {
    parameters.variables.push_back({rows, columns, parameters.size, std::move(shape), asked});
    parameters.size += parameters.variables.back().floats();
    return static_cast<int>(parameters.variables.size()) - 1;
  };
  int64_t size = model.input_size;
  std::vector<size_t> begins;  // variables before each layer
  for (const LayerSpec& layer : model.layers) {
    begins.push_back(parameters.variables.size());
    Parameters::Layer entry;
    const int64_t columns = size / layer.groups;
    const VariableSpec nothing, kernel = layer.trainable ? layer.kernel : nothing;
    const VariableSpec bias = layer.trainable ? layer.bias : nothing;
    const std::vector<int64_t> row = layer.shaped ? layer.shape : std::vector<int64_t>{columns};
    const auto add_learned = [&] {
      if (!layer.constants[0].empty()) return;
      if (layer.use_gain) entry.kernel = add(1, columns, row, kernel);
      if (layer.use_shift) entry.bias = add(1, columns, row, bias);
    };
    const auto add_statistics = [&] {
      if (!layer.constants[0].empty()) return;
      entry.mean = add(1, columns, row, nothing);
      entry.variance = add(1, columns, row, nothing);
    };
    switch (layer.kind) {
      case LayerSpec::Kind::kDense:
        entry.kernel = add(columns, layer.units, {columns, layer.units}, kernel);
        if (layer.use_bias) entry.bias = add(1, layer.units, {layer.units}, bias);
        break;
      case LayerSpec::Kind::kEmbedding:
        entry.kernel = add(layer.tokens, layer.units, {layer.tokens, layer.units}, kernel);
        break;
      case LayerSpec::Kind::kLearned:
        add_learned();
        break;
      case LayerSpec::Kind::kBatchNormalization:
        add_learned();
        add_statistics();
        if (!layer.renorm) break;
        entry.renorm = static_cast<int>(parameters.variables.size());
        for (int i = 0; i < kRenormVariables; ++i) add(1, columns, row, nothing);
        break;
      case LayerSpec::Kind::kStandardize:
        add_statistics();
        // Keras counts samples here, which nobody reads.
        if (entry.mean >= 0) add(1, 1, {}, nothing);
        break;
      case LayerSpec::Kind::kCustom:
        entry.first = static_cast<int>(parameters.variables.size());
        for (const LayerSpec::Custom& own : layer.variables) {
          int64_t numbers = 1;
          for (const int64_t axis : own.shape) numbers *= axis;
          add(1, numbers, own.shape, layer.trainable && own.trainable ? own.asked : nothing);
        }
        break;
      default:
        break;
    }
    size = size_after(layer, size);
    if (layer.first >= 0) entry = share(parameters, static_cast<size_t>(layer.first), begins);
    parameters.layers.push_back(entry);
  }
  return parameters;
}

int add_buffer(Plan& plan, int64_t rows, int64_t columns) {
  const int64_t ld = leading_dimension(columns);
  if (rows * (ld / kLane) > kMostScratch / kLane) refuse_scratch(plan);
  plan.buffers.push_back({rows, columns, ld});
  return static_cast<int>(plan.buffers.size()) - 1;
}

int add_nonzeros(Plan& plan, int64_t inputs) {
  const bool training = plan.mode == Plan::Mode::kTrain;
  const int buffer = add_buffer(plan, 1, NonZeros::scratch(plan.max_rows, inputs, training));
  give_copies(plan, buffer);
  return buffer;
}

int add_team_records(Plan& plan, int64_t inputs) {
  return add_buffer(plan, 1, TeamRecords::scratch(plan.max_rows, inputs, plan.threads));
}

int add_compressed_sums(Plan& plan, int64_t inputs) {
  const int buffer = add_buffer(plan, 1, CompressedSums::scratch(plan.max_rows, inputs));
  give_copies(plan, buffer);
  return buffer;
}

int add_packed_room(Plan& plan, int64_t rows) {
  const bool trains = plan.mode == Plan::Mode::kTrain;
  const int buffer = add_buffer(plan, 1, packed_room(rows) + (trains ? kGradientRows * kGradientStride : 0));
  give_copies(plan, buffer);
  return buffer;
}

int add_pointers(Plan& plan) {
  constexpr auto kFloats = static_cast<int64_t>(sizeof(void*) / sizeof(float));
  const int buffer = add_buffer(plan, 2, plan.max_rows * kFloats);
  give_copies(plan, buffer);
  return buffer;
}

void give_copies(Plan& plan, int buffer) { plan.buffers[static_cast<size_t>(buffer)].copied = true; }

void place_buffers(Plan& plan) {
  int64_t shared = 0, own = 0;
  for (Buffer& buffer : plan.buffers) {
    int64_t& end = buffer.copied ? own : shared;
    buffer.offset = end;
    end += leading_dimension(buffer.rows * buffer.ld);  // rows of two buffers should not share sets of a cache
    if (shared + plan.threads * own > kMostScratch) refuse_scratch(plan);
  }
  const int64_t copies = shared + kApart;
  for (Buffer& buffer : plan.buffers) buffer.offset += buffer.copied ? copies : 0;
  plan.copy_stride = own + kApart;
  plan.arena_size = copies + plan.threads * plan.copy_stride;
}

}  // namespace engine
