#include "graph/operations/reduction.h"

#include <algorithm>
#include <iterator>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

std::string text_of(const std::vector<int>& axes) {
  std::string text = "axes=";
  for (size_t i = 0; i < axes.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(axes[i]);
  return text;
}

bool contains(const std::vector<int>& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

Shape without(const Shape& shape, const std::vector<int>& axes) {
  Shape kept;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!contains(axes, static_cast<int>(i))) kept.push_back(shape[i]);
  }
  return kept;
}

}  // namespace

bool Reduce::reduces(int axis) const { return contains(axes, axis); }

std::vector<Operand> Reduce::operands() const {
  if (by_column) return {writes(y.value, kWhole, 'n'), reads(x.value, kWhole, 'n')};
  return {writes(y.value, rows, kWhole), reads(x.value, rows, kWhole)};
}

void Reduce::find_loops(const Graph& graph) {
  const Value& value = graph.value(x.value);
  by_column = kind == Reduction::kSum && x.shape.size() == 2 && axes == std::vector<int>{0} &&
              has_sample_axis(x.shape, graph.batch) && value.kind == Value::Kind::kBatch &&
              x.shape[1] == Extent{value.columns, 0};
  const bool keeps_first = !x.shape.empty() && !reduces(0);
  rows = keeps_first && row_loop(graph, x) == row_loop(graph, y) ? row_loop(graph, y) : kWhole;
}

std::string Reduce::attributes() const {
  return std::string(kReductionNames[static_cast<size_t>(kind)]) + " " + text_of(axes);
}

namespace {

Array add_product_gradient(Graph& graph, const Array& x, const Array& dy, const std::vector<int>& axes,
                           const Array& direction = {}, ProductGradient::Part part = ProductGradient::Part::kBehind) {
  const Array dx = add_array(graph, x.shape);
  auto& gradient = graph.add<ProductGradient>();
  gradient.x = x;
  gradient.dy = dy;
  gradient.dx = dx;
  gradient.direction = direction;
  gradient.part = part;
  gradient.axes = axes;
  return dx;
}

}  // namespace

void Reduce::differentiate(Differentiation& gradients) const {
  const ValueId dy_value = gradients.gradient_of(y.value);
  if (dy_value == kNoValue || !gradients.wants(x.value)) return;
  Graph& graph = gradients.graph();
  const Shape kept = with_ones(x.shape, axes);
  const Array dy{dy_value, kept}, result{y.value, kept};
  switch (kind) {
    case Reduction::kSum: {
      MapCode code;
      code.inputs = 1;
      code.add_copy(0);
      return gradients.contribute(x, add_map(graph, {dy}, x.shape, code, x.value));
    }
    case Reduction::kMaximum:
    case Reduction::kMinimum: {
      // Elements that are equally extreme get equal parts, as in JAX.
      const Array chosen = add_map(graph, MapOp::kEqual, x, result, x.shape);
      const Array count{add_sum(graph, chosen, axes).value, kept};
      MapCode code;
      code.inputs = 3;
      code.add(MapOp::kMultiply, code.add(MapOp::kDivide, 0, 2), 1);
      return gradients.contribute(x, add_map(graph, {dy, chosen, count}, x.shape, code, x.value));
    }
    case Reduction::kProduct:
      return gradients.contribute(x, add_product_gradient(graph, x, with_strides(graph, {dy_value, y.shape}), axes));
    case Reduction::kArgMaximum:
    case Reduction::kArgMinimum:
      return;
  }
}

std::vector<Operand> ProductGradient::operands() const {
  return {writes(dx.value, kWhole, kWhole), reads(x.value, kWhole, kWhole), reads(dy.value, kWhole, kWhole),
          reads(direction.value, kWhole, kWhole)};
}

/// It is linear in dy. The derivative by x, for which ddx is the direction, has the two parts.
void ProductGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx_value = gradients.gradient_of(dx.value);
  if (ddx_value == kNoValue) return;
  if (direction.value != kNoValue) return gradients.require_no_gradient(*this);
  Graph& graph = gradients.graph();
  const Array ddx = with_strides(graph, {ddx_value, dx.shape});
  if (gradients.wants(dy.value)) {
    MapCode one;
    one.add_constant(1.0f);
    const Array others = add_product_gradient(graph, x, add_map(graph, {}, dy.shape, one), axes);
    const Array sum = add_sum(graph, add_map(graph, MapOp::kMultiply, ddx, others, x.shape), axes);
    gradients.contribute(dy, {sum.value, dy.shape});
  }
  if (!gradients.wants(x.value)) return;
  for (const Part each : {Part::kBehind, Part::kBefore}) {
    gradients.contribute(x, add_product_gradient(graph, x, dy, axes, ddx, each));
  }
}

std::vector<Operand> CumulativeSum::operands() const {
  return {writes(y.value, rows, kWhole), reads(x.value, rows, kWhole)};
}

void CumulativeSum::find_loops(const Graph& graph) {
  rows = axis != 0 && row_loop(graph, x) == row_loop(graph, y) ? row_loop(graph, y) : kWhole;
}

std::string CumulativeSum::attributes() const {
  return "axis=" + std::to_string(axis) + (reverse ? " from the end" : "");
}

namespace {

Array add_cumulative_sum(Graph& graph, const Array& x, int axis, bool reverse) {
  const Array read = with_strides(graph, x), y = add_array(graph, x.shape);
  auto& sum = graph.add<CumulativeSum>();
  sum.x = read;
  sum.y = y;
  sum.axis = axis;
  sum.reverse = reverse;
  sum.find_loops(graph);
  return y;
}

}  // namespace

void CumulativeSum::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  gradients.contribute(x, add_cumulative_sum(gradients.graph(), {dy, y.shape}, axis, !reverse));
}

Array add_reduce(Graph& graph, Reduction kind, const Array& x, const std::vector<int>& axes) {
  const Array read = with_strides(graph, x), y = add_array(graph, without(x.shape, axes));
  auto& reduce = graph.add<Reduce>();
  reduce.kind = kind;
  reduce.x = read;
  reduce.y = y;
  reduce.axes = axes;
  reduce.find_loops(graph);
  return y;
}

Array add_sum(Graph& graph, const Array& x, const std::vector<int>& axes) {
  return add_reduce(graph, Reduction::kSum, x, axes);
}

Shape with_ones(const Shape& shape, const std::vector<int>& axes) {
  Shape kept = shape;
  for (const int axis : axes) kept[static_cast<size_t>(axis)] = {1, 0};
  return kept;
}

Array sum_to(Graph& graph, const Array& dy, const Shape& shape) {
  const size_t added = dy.shape.size() - shape.size();
  std::vector<int> axes;
  for (size_t i = 0; i < dy.shape.size(); ++i) {
    if (i < added || dy.shape[i] != shape[i - added]) axes.push_back(static_cast<int>(i));
  }
  if (axes.empty()) return dy;
  return {add_sum(graph, dy, axes).value, shape};
}

namespace {

struct ReduceLayer final : ArrayLayer {
  Reduction kind = Reduction::kSum;
  std::vector<int> axes;

  void check() const override {
    require_inputs(1);
    require(!gives_index(kind) || axes.size() == 1, "the place of an extreme is looked for along one axis");
    require(!axes.empty() && shape == without(input_shapes[0], axes), "a reduction keeps the other axes");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_reduce(builder.graph(), kind, inputs[0], axes);
  }
  bool keeps_rows(size_t) const override { return axes[0] != 0; }
};

struct CumulativeSumLayer final : ArrayLayer {
  int axis = 0;
  bool reverse = false;

  void check() const override {
    require_inputs(1);
    require(shape == input_shapes[0], "a cumulative sum keeps the shape");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_cumulative_sum(builder.graph(), inputs[0], axis, reverse);
  }
  bool keeps_rows(size_t) const override { return axis != 0; }
};

}  // namespace

std::shared_ptr<Layer> read_reduce(const Attributes& attributes) {
  auto layer = std::make_shared<ReduceLayer>();
  layer->read_shapes(attributes);
  layer->kind = attributes.choice<Reduction>("reduction", kReductionNames);
  layer->axes = layer->read_axes(attributes);
  return layer;
}

std::shared_ptr<Layer> read_cumulative_sum(const Attributes& attributes) {
  auto layer = std::make_shared<CumulativeSumLayer>();
  layer->read_shapes(attributes);
  layer->axis = layer->read_axis(attributes);
  layer->reverse = attributes.flag("reverse", false);
  return layer;
}

}  // namespace engine::graph
