#include "graph/operations/pooling.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
#include "graph/sizes.h"

namespace engine::graph {

void ScaleRows::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<ScaleRows>();
  gradient.x = dy;
  gradient.factors = factors;
  gradient.y = gradients.graph().add_like(dy);
  gradient.scale = scale;
  gradients.contribute(x, gradient.y);
}

void MeanOfRows::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<ScaleRows>();
  gradient.x = dy;
  gradient.factors = factors;
  gradient.y = gradients.graph().add_like(x);
  gradient.scale = scale;
  gradients.contribute(x, gradient.y);
}

void MaxOfRows::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  auto& gradient = gradients.graph().add<MaxOfRowsGradient>();
  gradient.dy = dy;
  gradient.x = x;
  gradient.y = y;
  gradient.dx = gradients.graph().add_like(x);
  gradients.contribute(x, gradient.dx);
}

/// It is linear in dy, and the slope by x is 0.
void MaxOfRowsGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx);
  if (ddx == kNoValue || !gradients.wants(dy)) return;
  Graph& graph = gradients.graph();
  const Shape largest = shape_of(graph, y), one{largest[0], {1, 0}, largest[1]};
  const Shape rows{largest[0], {graph.value(x).groups, 0}, largest[1]};
  const Array chosen = add_map(graph, MapOp::kEqual, {x, rows}, {y, one}, rows);
  const Array sum = add_sum(graph, add_map(graph, MapOp::kMultiply, {ddx, rows}, chosen, rows), {1});
  const Array count = add_sum(graph, chosen, {1});
  gradients.contribute({dy, largest}, add_map(graph, MapOp::kDivide, sum, count, largest));
}

namespace {

struct PoolingLayer : Layer {
  int64_t output_size(const LayerInputs& inputs) const override { return row_of(inputs.size(), groups); }
};

struct MeanLayer final : PoolingLayer {
  bool masked = false;  // whether the mean leaves out rows that the mask does

  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const Mask* const mask = masked ? builder.mask_of(inputs[0]) : nullptr;
    const ValueId x = builder.with_rows(inputs[0], groups);
    ValueId shares = kNoValue;
    if (mask) {
      auto& factors = builder.add<RowFactors>();
      factors.x = mask->source;
      factors.value = mask->value;
      factors.shares = true;
      factors.factors = shares = builder.graph().add_batch(1, mask->rows);
    }
    auto& mean = builder.add<MeanOfRows>();
    mean.x = x;
    mean.factors = shares;
    mean.y = builder.graph().add_batch(1, builder.value(x).columns);
    mean.scale = 1.0f / static_cast<float>(groups);
    return mean.y;
  }
};

struct MaxLayer final : PoolingLayer {
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], groups);
    auto& max = builder.add<MaxOfRows>();
    max.x = x;
    max.y = builder.graph().add_batch(1, builder.value(x).columns);
    return max.y;
  }
};

/// Rows that hold nothing but `value` become 0, and later layers leave them out.
struct MaskLayer final : Layer {
  float value = 0.0f;

  int64_t output_size(const LayerInputs& inputs) const override {
    row_of(inputs.size(), groups);
    return inputs.size();
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], groups);
    Mask mask{x, value, groups};
    const ValueId factors = builder.row_mask(&mask);
    auto& scale = builder.add<ScaleRows>();
    scale.x = x;
    scale.factors = factors;
    scale.y = builder.graph().add_like(x);
    builder.set_mask(scale.y, mask);
    return scale.y;
  }
  int64_t mask_rows(int64_t) const override { return groups; }
};

}  // namespace

std::shared_ptr<Layer> read_mean(const Attributes& attributes) {
  auto layer = std::make_shared<MeanLayer>();
  layer->masked = attributes.flag("masked", false);
  return layer;
}

std::shared_ptr<Layer> read_max(const Attributes&) { return std::make_shared<MaxLayer>(); }

std::shared_ptr<Layer> read_mask(const Attributes& attributes) {
  auto layer = std::make_shared<MaskLayer>();
  layer->value = attributes.single("value");
  return layer;
}

}  // namespace engine::graph
