// Images changed at random in training: moved, turned, zoomed, mirrored, displaced.
#pragma once
#include "formulas/kinds.h"
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

struct AugmentImages final : Operation {
  ValueId x = kNoValue, y = kNoValue;
  std::shared_ptr<const ImageChanges> changes;
  std::shared_ptr<const std::vector<float>> taps;  // of the filter that smooths displacements; empty: there are none

  const char* name() const override { return "augment_images"; }
  std::vector<Operand> operands() const override { return {writes(y, kSamples, kWhole), reads(x, kSamples, kWhole)}; }
};

std::shared_ptr<Layer> read_image_augmentation(const Attributes& attributes);

}  // namespace engine::graph
