#include "graph/operations/random_noise.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/print.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

double read_rate(const Attributes& attributes) {
  const double rate = attributes.number("rate");
  if (!(rate >= 0.0 && rate <= 1.0)) refuse("a dropout rate lies in [0, 1], got " + std::to_string(rate));
  return rate;
}

}  // namespace

std::string Dropout::attributes() const { return "rate=" + short_number(rate); }

void Dropout::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  Graph& graph = gradients.graph();
  const Array factor = as_array(graph, mask);
  gradients.contribute(x, add_map(graph, MapOp::kMultiply, factor, as_array(graph, dy), factor.shape, dy).value);
}

std::string RandomNoise::attributes() const {
  return distribution == Distribution::kMask ? "rate=" + short_number(rate) : "deviation=" + short_number(scale);
}

namespace {

struct DropoutLayer final : Layer {
  double rate = 0.0;
  uint64_t seed = 0;

  int64_t output_size(const LayerInputs& inputs) const override { return inputs.size(); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (!builder.adds_noise() || rate == 0.0) return inputs[0];
    auto& dropout = builder.add<Dropout>();
    dropout.x = inputs[0];
    dropout.mask = builder.graph().add_like(inputs[0]);
    dropout.y = builder.graph().add_like(inputs[0]);
    dropout.rate = rate;
    dropout.seed = seed;
    return dropout.y;
  }
};

/// A value with one row for each sample, under the axes of these.
Array of_samples(const Graph& graph, ValueId value, const std::vector<int64_t>& lengths) {
  Shape axes{{0, 1}};
  for (const int64_t length : lengths) axes.push_back({length, 0});
  return {value, resolved(axes, graph.batch)};
}

struct NoiseLayer final : Layer {
  /// Alpha dropout (Klambauer et al., 2017): x times the mask, plus `kept`; `dropped` where the mask is 0.
  enum class Combination { kMultiply, kAdd, kAlpha };
  RandomNoise noise;
  Combination combination = Combination::kMultiply;
  float kept = 0.0f, dropped = 0.0f;
  /// The axes of a sample and those of its noise, whose axes of length 1 are repeated; none: each number has its own.
  std::vector<int64_t> shape, noise_shape;

  int64_t output_size(const LayerInputs& inputs) const override {
    if (noise_shape.empty()) return inputs.size();
    bool fits = shape.size() == noise_shape.size() && element_count(shape) == inputs.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = noise_shape[i] == 1 || noise_shape[i] == shape[i];
    if (!fits) refuse("'noise_shape' must be that of a sample, with 1 in place of some lengths");
    require_axes(shape.size() + 1);
    return inputs.size();
  }

  /// What becomes of x, input 1, with the noise, input 0.
  MapCode code() const {
    MapCode code;
    code.inputs = 2;
    if (combination == Combination::kMultiply) code.add(MapOp::kMultiply, 1, 0);
    if (combination == Combination::kAdd) code.add(MapOp::kAdd, 1, 0);
    if (combination == Combination::kAlpha) {
      const int scaled = code.add(MapOp::kMultiplyAdd, 1, 0, code.add_constant(kept));
      code.add(MapOp::kSelect, 0, scaled, code.add_constant(dropped));
    }
    return code;
  }

  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (!builder.adds_noise()) return inputs[0];
    Graph& graph = builder.graph();
    const bool shares = !noise_shape.empty();
    const ValueId x = shares ? builder.with_rows(inputs[0], 1) : inputs[0];
    auto& draw = builder.add<RandomNoise>();
    draw = noise;
    draw.noise = shares ? graph.add_batch(1, element_count(noise_shape)) : graph.add_like(x);
    const Array drawn = shares ? of_samples(graph, draw.noise, noise_shape) : as_array(graph, draw.noise);
    const Array given = shares ? of_samples(graph, x, shape) : as_array(graph, x);
    return add_map(graph, {drawn, given}, given.shape, code(), x).value;
  }
};

}  // namespace

std::shared_ptr<Layer> read_dropout(const Attributes& attributes) {
  auto layer = std::make_shared<DropoutLayer>();
  layer->rate = read_rate(attributes);
  layer->seed = attributes.seed("seed");
  return layer;
}

std::shared_ptr<Layer> read_noise(const Attributes& attributes) {
  static constexpr const char* kDistributions[] = {"mask", "normal"};
  static constexpr const char* kCombinations[] = {"multiply", "add", "alpha"};
  auto layer = std::make_shared<NoiseLayer>();
  layer->noise.rate = read_rate(attributes);
  layer->noise.seed = attributes.seed("seed");
  layer->noise.distribution = attributes.choice<RandomNoise::Distribution>("distribution", kDistributions);
  layer->combination = attributes.choice<NoiseLayer::Combination>("combination", kCombinations);
  layer->noise.mean = attributes.single("mean", 0.0f);
  layer->noise.scale = attributes.single("scale");
  layer->kept = attributes.single("kept", 0.0f);
  layer->dropped = attributes.single("dropped", 0.0f);
  layer->noise.shared = attributes.flag("shared", false);
  if (attributes.has("noise_shape")) {
    layer->shape = attributes.integers("shape");
    layer->noise_shape = attributes.integers("noise_shape");
  }
  return layer;
}

}  // namespace engine::graph
