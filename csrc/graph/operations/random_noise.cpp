#include "graph/operations/random_noise.h"

#include <utility>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/elementwise.h"
#include "graph/operations/shape.h"
#include "graph/print.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

void differentiate_by_mask(Differentiation& gradients, ValueId x, ValueId mask, ValueId y) {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<Multiply>();
  gradient.x = dy;
  gradient.factor = mask;
  gradient.y = gradients.graph().add_like(dy);
  gradients.contribute(x, gradient.y);
}

double read_rate(const Attributes& attributes) {
  const double rate = attributes.number("rate");
  if (!(rate >= 0.0 && rate <= 1.0)) refuse("a dropout rate lies in [0, 1], got " + std::to_string(rate));
  return rate;
}

}  // namespace

std::string Dropout::attributes() const { return "rate=" + short_number(rate); }

void Dropout::differentiate(Differentiation& gradients) const { differentiate_by_mask(gradients, x, mask, y); }

std::string RandomNoise::attributes() const {
  return distribution == Distribution::kMask ? "rate=" + short_number(rate) : "deviation=" + short_number(scale);
}

void AddNoise::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy != kNoValue) gradients.contribute(x, dy);
}

void AlphaDropout::differentiate(Differentiation& gradients) const { differentiate_by_mask(gradients, x, mask, y); }

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

struct NoiseLayer final : Layer {
  enum class Combination { kMultiply, kAdd, kAlpha };
  RandomNoise noise;
  Combination combination = Combination::kMultiply;
  float kept = 0.0f, dropped = 0.0f;
  int64_t noises = 0;                                   // numbers to draw for each sample, if `indices` is given
  std::shared_ptr<const std::vector<int32_t>> indices;  // which of them each number of the sample gets; null: its own

  int64_t output_size(const LayerInputs& inputs) const override {
    if (!indices) return inputs.size();
    const auto count = static_cast<int64_t>(indices->size());
    if (count != inputs.size()) {
      refuse("'indices' has " + std::to_string(count) + " entries for rows of " + std::to_string(inputs.size()));
    }
    for (const int32_t index : *indices) {
      if (index < -1 || index >= noises) refuse("an index lies beyond the numbers that are drawn");
    }
    return inputs.size();
  }

  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (!builder.adds_noise()) return inputs[0];
    Graph& graph = builder.graph();
    const ValueId x = indices ? builder.with_rows(inputs[0], 1) : inputs[0];
    auto& draw = builder.add<RandomNoise>();
    draw = noise;
    ValueId drawn = draw.noise = indices ? graph.add_batch(1, noises) : graph.add_like(x);
    if (indices) {
      auto& spread = builder.add<SelectColumns>();
      spread.x = drawn;
      spread.y = drawn = graph.add_like(x);
      spread.indices = indices;
    }
    const ValueId y = graph.add_like(x);
    switch (combination) {
      case Combination::kMultiply: {
        auto& multiply = builder.add<Multiply>();
        multiply.x = x;
        multiply.factor = drawn;
        multiply.y = y;
        break;
      }
      case Combination::kAdd: {
        auto& add = builder.add<AddNoise>();
        add.x = x;
        add.noise = drawn;
        add.y = y;
        break;
      }
      case Combination::kAlpha: {
        auto& alpha = builder.add<AlphaDropout>();
        alpha.x = x;
        alpha.mask = drawn;
        alpha.y = y;
        alpha.kept = kept;
        alpha.dropped = dropped;
        break;
      }
    }
    return y;
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
  layer->noises = attributes.integer("noises", 0);
  auto indices = attributes.has("indices") ? attributes.indices("indices") : std::vector<int32_t>{};
  if (!indices.empty()) layer->indices = std::make_shared<const std::vector<int32_t>>(std::move(indices));
  return layer;
}

}  // namespace engine::graph
