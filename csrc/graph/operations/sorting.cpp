#include "graph/operations/sorting.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/arrangement.h"

namespace engine::graph {
namespace {

int last_axis(const Array& x) { return static_cast<int>(x.shape.size()) - 1; }

Array add_sort(Graph& graph, const Array& x, bool gives_places) {
  const Array read = with_strides(graph, x), y = add_array(graph, x.shape);
  auto& sort = graph.add<Sort>();
  sort.x = read;
  sort.y = y;
  sort.gives_places = gives_places;
  sort.rows = last_axis(x) > 0 && row_loop(graph, read) == row_loop(graph, y) ? row_loop(graph, y) : kWhole;
  return y;
}

struct SortLayer final : ArrayLayer {
  bool gives_places = false;

  void check() const override {
    require_inputs(1);
    require(shape == input_shapes[0] && !shape.empty(), "sorting keeps the shape, which has an axis");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_sort(builder.graph(), inputs[0], gives_places);
  }
  bool keeps_rows(size_t) const override { return shape.size() > 1; }
};

}  // namespace

std::vector<Operand> Sort::operands() const { return {writes(y.value, rows, kWhole), reads(x.value, rows, kWhole)}; }

/// Each gradient goes to the place that its number comes from.
void Sort::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (gives_places || dy == kNoValue || !gradients.wants(x.value)) return;
  Graph& graph = gradients.graph();
  const Array places = add_sort(graph, x, true);
  gradients.contribute(x, add_scatter(graph, {dy, y.shape}, places, last_axis(x), x.shape));
}

std::shared_ptr<Layer> read_sort(const Attributes& attributes) {
  auto layer = std::make_shared<SortLayer>();
  layer->read_shapes(attributes);
  layer->gives_places = attributes.flag("gives_places");
  return layer;
}

}  // namespace engine::graph
