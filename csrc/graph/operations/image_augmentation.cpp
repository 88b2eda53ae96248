#include "graph/operations/image_augmentation.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "graph/builder.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

/// Sizes of an image, or pixels: what lies further away is read as if it lay there, and no sum of such numbers
/// overflows.
constexpr float kFurthest = 1e6f;

void read_range(const Attributes& attributes, const char* key, float (&range)[2]) {
  const auto ends = attributes.has(key) ? attributes.numbers(key) : std::vector<float>{0.0f, 0.0f};
  const auto near = [](float end) { return end >= -kFurthest && end <= kFurthest; };
  if (ends.size() != 2 || !std::all_of(ends.begin(), ends.end(), near)) {
    attributes.refuse("two numbers from -1e6 to 1e6 are wanted for key", key);
  }
  std::copy(ends.begin(), ends.end(), range);
}

void check_taps(const std::vector<float>& taps) {
  constexpr float kMost = 1.01f;  // kernels sum their products in 32 bits
  if (taps.size() % 2 == 0 || !std::equal(taps.begin(), taps.end(), taps.rbegin()) ||
      !std::all_of(taps.begin(), taps.end(), [](float tap) { return tap >= 0.0f; }) ||
      !(std::accumulate(taps.begin(), taps.end(), 0.0f) <= kMost)) {
    refuse("'taps' must hold an odd number of shares, the same from both ends, that add up to 1");
  }
}

struct ImageAugmentationLayer final : Layer {
  std::shared_ptr<const ImageChanges> changes;
  std::shared_ptr<const std::vector<float>> taps;

  int64_t output_size(const LayerInputs& inputs) const override {
    if (inputs.after_learning) refuse("a layer that learns can't come before one that changes images");
    if (element_count({changes->height, changes->width, changes->channels}) != inputs.size()) {
      refuse("a sample is no image of that height, width and number of channels");
    }
    return inputs.size();
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    if (!builder.adds_noise()) return inputs[0];
    const ValueId x = builder.with_rows(inputs[0], 1);
    auto& augment = builder.add<AugmentImages>();
    augment.x = x;
    augment.y = builder.graph().add_like(x);
    augment.changes = changes;
    augment.taps = taps;
    return augment.y;
  }
};

}  // namespace

std::shared_ptr<Layer> read_image_augmentation(const Attributes& attributes) {
  static constexpr const char* kFills[] = {"constant", "nearest", "reflect", "wrap"};
  ImageChanges changes = {};
  changes.height = attributes.count("height");
  changes.width = attributes.count("width");
  changes.channels = attributes.count("channels");
  read_range(attributes, "down", changes.down);
  read_range(attributes, "right", changes.right);
  read_range(attributes, "turns", changes.turns);
  read_range(attributes, "zoom", changes.zoom[0]);
  read_range(attributes, "zoom_width", changes.zoom[1]);
  changes.zooms_alike = !attributes.has("zoom_width");
  changes.flips[0] = attributes.flag("turns_over", false);
  changes.flips[1] = attributes.flag("mirrors", false);
  changes.alpha = attributes.single("alpha", 0.0f);
  if (!(changes.alpha >= 0.0f && changes.alpha <= kFurthest)) {
    refuse("'alpha' must lie in [0, 1e6], got " + std::to_string(changes.alpha));
  }
  auto layer = std::make_shared<ImageAugmentationLayer>();
  const auto taps = attributes.has("taps") ? attributes.numbers("taps") : std::vector<float>{};
  if (!taps.empty()) check_taps(taps);
  changes.radius = taps.empty() ? -1 : static_cast<int64_t>(taps.size() / 2);
  layer->taps = std::make_shared<const std::vector<float>>(taps);
  changes.fill = attributes.choice<Fill>("fill", kFills);
  changes.fill_value = attributes.single("fill_value", 0.0f);
  changes.nearest = attributes.flag("nearest", false);
  changes.seed = attributes.seed("seed");
  layer->changes = std::make_shared<const ImageChanges>(changes);
  return layer;
}

}  // namespace engine::graph
