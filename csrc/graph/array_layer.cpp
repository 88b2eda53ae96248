#include "graph/array_layer.h"

#include <algorithm>
#include <string>

#include "graph/builder.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

/// Refuses lengths that are negative for every batch, and arrays so large that offsets could overflow.
void require_lengths(const Shape& shape) {
  int64_t numbers = 1;
  for (const Extent& extent : shape) {
    const bool in_range = extent.fixed <= kMaxNumbers && extent.fixed >= -kMaxNumbers && extent.per_sample >= 0 &&
                          extent.per_sample <= kMaxNumbers && (extent.fixed >= 0 || extent.per_sample > 0);
    if (!in_range) refuse("an axis of " + text_of(shape) + " has no valid length");
    numbers = require_size(times(numbers, std::max<int64_t>(extent.fixed + extent.per_sample, 1)));
  }
  require_axes(shape.size());
}

}  // namespace

void ArrayLayer::read_shapes(const Attributes& attributes) {
  if (attributes.has("input_shapes")) input_shapes = attributes.shapes("input_shapes");
  shape = attributes.shape("shape");
  for (const Shape& each : input_shapes) require_lengths(each);
  require_lengths(shape);
}

std::vector<int> ArrayLayer::read_axes(const Attributes& attributes) const {
  require(!input_shapes.empty(), "a layer along axes must have an input");
  std::vector<int> axes;
  for (const int64_t axis : attributes.integers("axes")) {
    const bool known = axis >= 0 && axis < static_cast<int64_t>(input_shapes[0].size());
    if (!known || (!axes.empty() && axis <= axes.back())) {
      attributes.refuse("axes must be ascending, and axes of the input:", "axes");
    }
    axes.push_back(static_cast<int>(axis));
  }
  return axes;
}

int ArrayLayer::read_axis(const Attributes& attributes) const {
  require(!input_shapes.empty(), "a layer along an axis must have an input");
  const int64_t axis = attributes.integer("axis");
  if (axis < 0 || axis >= static_cast<int64_t>(input_shapes[0].size())) {
    attributes.refuse("an axis must be one of the input:", "axis");
  }
  return static_cast<int>(axis);
}

Shape ArrayLayer::output_shape(const LayerInputs& inputs) const {
  if (inputs.shapes.size() != input_shapes.size()) refuse("there must be a shape for each input");
  for (size_t i = 0; i < input_shapes.size(); ++i) {
    if (!equally_large(inputs.shapes[i], input_shapes[i])) {
      refuse("an input of shape " + text_of(inputs.shapes[i]) + " can't be read as " + text_of(input_shapes[i]));
    }
  }
  check();
  return shape;
}

ValueId ArrayLayer::build(Builder& builder, const std::vector<ValueId>& inputs) const {
  std::vector<Array> arrays;
  for (size_t i = 0; i < inputs.size(); ++i) arrays.push_back({builder.array_of(inputs[i]), input_shapes[i]});
  return build_array(builder, arrays).value;
}

bool ArrayLayer::joins_samples() const {
  for (size_t i = 0; i < input_shapes.size(); ++i) {
    const Shape& input = input_shapes[i];
    const bool has_samples =
        std::any_of(input.begin(), input.end(), [](const Extent& each) { return each.per_sample != 0; });
    if (!has_samples) continue;
    if (!has_sample_axis(input, 0) || !has_sample_axis(shape, 0) || !keeps_rows(i)) return true;
  }
  return false;
}

void ArrayLayer::require_inputs(size_t count) const {
  if (input_shapes.size() == count) return;
  refuse("the layer must have " + std::to_string(count) + " inputs, got " + std::to_string(input_shapes.size()));
}

void ArrayLayer::require(bool condition, const char* rule) const {
  if (condition) return;
  std::string text = std::string(rule) + ": got ";
  for (const Shape& each : input_shapes) text += text_of(each) + " ";
  refuse(text + "-> " + text_of(shape));
}

}  // namespace engine::graph
