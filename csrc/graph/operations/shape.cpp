#include "graph/operations/shape.h"

#include <utility>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/sizes.h"

namespace engine::graph {

void Reshape::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<Reshape>();
  gradient.x = dy;
  gradient.y = gradients.graph().add_like(x);
  gradients.contribute(x, gradient.y);
}

void SelectColumns::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<SelectColumnsGradient>();
  gradient.dy = dy;
  gradient.dx = gradients.graph().add_like(x);
  gradient.indices = indices;
  gradients.contribute(x, gradient.dx);
}

std::vector<Operand> Concatenate::operands() const {
  std::vector<Operand> all{writes(y, kSamples, kWhole)};
  for (const ValueId part : parts) all.push_back(reads(part, kSamples, kWhole));
  return all;
}

void Concatenate::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue) return;
  Graph& graph = gradients.graph();
  int64_t first = 0;
  for (const ValueId part : parts) {
    if (gradients.wants(part)) {
      auto& gradient = graph.add<SliceColumns>();
      gradient.x = dy;
      gradient.y = graph.add_like(part);
      gradient.first = first;
      gradients.contribute(part, gradient.y);
    }
    first += graph.value(part).columns;
  }
}

std::string SliceColumns::attributes() const { return "first=" + std::to_string(first); }

namespace {

struct SelectColumnsLayer final : Layer {
  std::shared_ptr<const std::vector<int32_t>> indices;

  int64_t output_size(const LayerInputs& inputs) const override {
    for (const int32_t index : *indices) {
      if (index < -1 || index >= inputs.size()) refuse("an index lies beyond the input");
    }
    return static_cast<int64_t>(indices->size());
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], 1);
    auto& select = builder.add<SelectColumns>();
    select.x = x;
    select.y = builder.graph().add_batch(1, static_cast<int64_t>(indices->size()));
    select.indices = indices;
    return select.y;
  }
  bool only_moves() const override { return true; }
};

/// Joins the rows of its inputs, which all have `groups` rows for each sample.
struct ConcatenateLayer final : Layer {
  int64_t output_size(const LayerInputs& inputs) const override {
    int64_t size = 0;
    for (const int64_t input : inputs.sizes) {
      row_of(input, groups);
      size += input;
    }
    return size;
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    std::vector<ValueId> parts;
    int64_t columns = 0;
    for (const ValueId input : inputs) {
      parts.push_back(builder.with_rows(input, groups));
      columns += builder.value(parts.back()).columns;
    }
    auto& concatenate = builder.add<Concatenate>();
    concatenate.parts = parts;
    concatenate.y = builder.graph().add_batch(groups, columns);
    return concatenate.y;
  }
};

}  // namespace

std::shared_ptr<Layer> read_select_columns(const Attributes& attributes) {
  auto indices = attributes.indices("indices");
  if (indices.empty()) refuse("a layer that selects columns needs at least 1 index");
  auto layer = std::make_shared<SelectColumnsLayer>();
  layer->indices = std::make_shared<const std::vector<int32_t>>(std::move(indices));
  return layer;
}

std::shared_ptr<Layer> read_concatenate(const Attributes&) { return std::make_shared<ConcatenateLayer>(); }

}  // namespace engine::graph
