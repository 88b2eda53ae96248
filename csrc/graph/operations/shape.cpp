#include "graph/operations/shape.h"

#include <algorithm>
#include <numeric>

#include "graph/builder.h"
#include "graph/operations/arrangement.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

struct PermuteLayer final : Layer {
  std::vector<int64_t> lengths;  // of the axes of a sample
  std::vector<int> axes;         // of y: which of these each is

  int64_t output_size(const LayerInputs& inputs) const override {
    if (element_count(lengths) != inputs.size()) refuse("'lengths' must be those of the axes of a sample");
    require_axes(lengths.size() + 1);
    return inputs.size();
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Graph& graph = builder.graph();
    const ValueId x = builder.with_rows(inputs[0], 1), y = graph.add_like(x);
    Shape from{{0, 1}}, to{{0, 1}};
    std::vector<int> order{0};
    for (const int64_t length : lengths) from.push_back({length, 0});
    for (const int axis : axes) {
      to.push_back(from[static_cast<size_t>(axis) + 1]);
      order.push_back(axis + 1);
    }
    add_transpose_to(graph, {y, resolved(to, graph.batch)}, {x, resolved(from, graph.batch)}, order);
    return y;
  }
  bool only_moves() const override { return true; }
};

struct RepeatLayer final : Layer {
  int64_t count = 0;

  int64_t output_size(const LayerInputs& inputs) const override { return times(count, inputs.size()); }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Graph& graph = builder.graph();
    const ValueId x = builder.with_rows(inputs[0], 1);
    const Extent columns{builder.value(x).columns, 0};
    const ValueId y = graph.add_batch(count, columns.fixed);
    MapCode copy;
    copy.inputs = 1;
    copy.add_copy(0);
    const Shape one{{0, 1}, {1, 0}, columns}, all{{0, 1}, {count, 0}, columns};
    add_map_to(graph, {y, resolved(all, graph.batch)}, {{x, resolved(one, graph.batch)}}, copy);
    return y;
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
    Graph& graph = builder.graph();
    std::vector<Array> parts;
    int64_t columns = 0;
    for (const ValueId input : inputs) {
      parts.push_back(as_array(graph, builder.with_rows(input, groups)));
      columns += parts.back().shape[1].fixed;
    }
    const ValueId y = graph.add_batch(groups, columns);
    add_join_to(graph, as_array(graph, y), parts, 1);
    return y;
  }
};

}  // namespace

std::shared_ptr<Layer> read_permute(const Attributes& attributes) {
  auto layer = std::make_shared<PermuteLayer>();
  layer->lengths = attributes.integers("lengths");
  for (const int64_t axis : attributes.integers("axes")) layer->axes.push_back(static_cast<int>(axis));
  std::vector<int> sorted = layer->axes, all(layer->lengths.size());
  std::sort(sorted.begin(), sorted.end());
  std::iota(all.begin(), all.end(), 0);
  if (sorted != all) attributes.refuse("a permutation names each axis of a sample once:", "axes");
  return layer;
}

std::shared_ptr<Layer> read_repeat(const Attributes& attributes) {
  auto layer = std::make_shared<RepeatLayer>();
  layer->count = attributes.count("count");
  return layer;
}

std::shared_ptr<Layer> read_concatenate(const Attributes&) { return std::make_shared<ConcatenateLayer>(); }

}  // namespace engine::graph
