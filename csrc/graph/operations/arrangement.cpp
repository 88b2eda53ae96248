#include "graph/operations/arrangement.h"

#include <algorithm>
#include <numeric>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

std::string text_of_axes(const std::vector<int>& axes) {
  std::string text = "axes=";
  for (size_t i = 0; i < axes.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(axes[i]);
  return text;
}

/// Such as [0:, 2::2, -1::-1].
std::string text_of(const Selection& selection) {
  std::string text;
  for (size_t i = 0; i < selection.begin.size(); ++i) {
    const std::string begin = graph::text_of(Shape{selection.begin[i]});
    text += (text.empty() ? "" : ", ") + begin.substr(1, begin.size() - 3) + ":";
    if (selection.step[i] != 1) text += ":" + std::to_string(selection.step[i]);
  }
  return "[" + text + "]";
}

/// An operation that reads one array and writes another. Threads share their first axes where `by_row` says that each
/// row of y comes from the same row of x.
template <class Op>
Array add_moved(Graph& graph, const Array& x, const Shape& shape, bool by_row, Op*& added) {
  const Array read = strided(graph, x), y = add_array(graph, shape);
  added = &graph.add<Op>();
  added->x = read;
  added->y = y;
  added->rows = by_row && row_loop(graph, read) == row_loop(graph, y) ? row_loop(graph, y) : kWhole;
  return y;
}

template <class Op>
std::vector<Operand> moved(const Op& op) {
  return {writes(op.y.value, op.rows, kWhole), reads(op.x.value, op.rows, kWhole)};
}

Array add_transpose(Graph& graph, const Array& x, const std::vector<int>& axes) {
  Shape shape;
  for (const int axis : axes) shape.push_back(x.shape[static_cast<size_t>(axis)]);
  Transpose* transpose;
  const Array y = add_moved(graph, x, shape, !axes.empty() && axes[0] == 0, transpose);
  transpose->axes = axes;
  return y;
}

/// Whether a selection leaves the first axis as it is.
bool keeps_first(const Selection& selection, const Shape& from, const Shape& to) {
  return !from.empty() && selection.begin[0] == Extent{} && selection.step[0] == 1 && from[0] == to[0];
}

template <class Op>
Array add_selected(Graph& graph, const Array& x, const Shape& shape, const Selection& selection) {
  Op* added;
  const Array y = add_moved(graph, x, shape, keeps_first(selection, x.shape, shape), added);
  added->selection = selection;
  return y;
}

Selection from_start(size_t axes) {
  Selection all;
  all.begin.resize(axes);
  all.step.assign(axes, 1);
  return all;
}

Extent sum_of(const Extent& a, const Extent& b) { return {a.fixed + b.fixed, a.per_sample + b.per_sample}; }

}  // namespace

// ---- Copies and transposes ---------------------------------------------------------------------------------------

std::vector<Operand> Copy::operands() const { return moved(*this); }

void Copy::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !passes_gradient) return;
  gradients.contribute(x, {dy, y.shape});
}

void add_copy(Graph& graph, const Array& x, const Array& y, bool passes_gradient) {
  auto& copy = graph.add<Copy>();
  copy.x = x;
  copy.y = y;
  copy.rows = row_loop(graph, x) == row_loop(graph, y) ? row_loop(graph, y) : kWhole;
  copy.passes_gradient = passes_gradient;
}

std::vector<Operand> Transpose::operands() const { return moved(*this); }

std::string Transpose::attributes() const { return text_of_axes(axes); }

void Transpose::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  std::vector<int> inverse(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) inverse[static_cast<size_t>(axes[i])] = static_cast<int>(i);
  gradients.contribute(x, add_transpose(gradients.graph(), {dy, y.shape}, inverse));
}

// ---- Slices ------------------------------------------------------------------------------------------------------

std::vector<Operand> Slice::operands() const { return moved(*this); }
std::string Slice::attributes() const { return text_of(selection); }

void Slice::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  gradients.contribute(x, add_selected<PlaceSlice>(gradients.graph(), {dy, y.shape}, x.shape, selection));
}

std::vector<Operand> PlaceSlice::operands() const { return moved(*this); }
std::string PlaceSlice::attributes() const { return text_of(selection); }

void PlaceSlice::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  gradients.contribute(x, add_selected<Slice>(gradients.graph(), {dy, y.shape}, x.shape, selection));
}

// ---- Joined arrays -----------------------------------------------------------------------------------------------

std::vector<Operand> Join::operands() const {
  std::vector<Operand> all{writes(y.value, rows, kWhole)};
  for (const Array& part : parts) all.push_back(reads(part.value, rows, kWhole));
  return all;
}

std::string Join::attributes() const { return "axis=" + std::to_string(axis); }

void Join::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue) return;
  Selection selection = from_start(y.shape.size());
  Extent& begin = selection.begin[static_cast<size_t>(axis)];
  for (const Array& part : parts) {
    if (gradients.wants(part.value)) {
      gradients.contribute(part, add_selected<Slice>(gradients.graph(), {dy, y.shape}, part.shape, selection));
    }
    begin = sum_of(begin, part.shape[static_cast<size_t>(axis)]);
  }
}

// ---- Rows by index -----------------------------------------------------------------------------------------------

namespace {

template <class Op>
void find_rows(const Graph& graph, Op& op, const Array& from, const Array& to) {
  const Loop loop = row_loop(graph, to);
  const bool same = op.batch_axes > 0 && row_loop(graph, from) == loop && row_loop(graph, op.indices) == loop;
  op.rows = same ? loop : kWhole;
}

Array add_gather(Graph& graph, const Array& x, const Array& indices, int batch_axes, const Shape& shape) {
  const Array read = strided(graph, x), at = strided(graph, indices), y = add_array(graph, shape);
  auto& gather = graph.add<Gather>();
  gather.x = read;
  gather.indices = at;
  gather.y = y;
  gather.batch_axes = batch_axes;
  find_rows(graph, gather, read, y);
  return y;
}

}  // namespace

std::vector<Operand> Gather::operands() const {
  return {writes(y.value, rows, kWhole), reads(x.value, rows, kWhole), reads(indices.value, rows, kWhole)};
}

void Gather::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  Graph& graph = gradients.graph();
  const Array read = strided(graph, {dy, y.shape}), dx = add_array(graph, x.shape);
  auto& scatter = graph.add<ScatterAdd>();
  scatter.dy = read;
  scatter.indices = indices;
  scatter.dx = dx;
  scatter.batch_axes = batch_axes;
  find_rows(graph, scatter, read, dx);
  gradients.contribute(x, dx);
}

std::vector<Operand> ScatterAdd::operands() const {
  return {writes(dx.value, rows, kWhole), reads(dy.value, rows, kWhole), reads(indices.value, rows, kWhole)};
}

void ScatterAdd::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx.value);
  if (ddx == kNoValue || !gradients.wants(dy.value)) return;
  gradients.contribute(dy, add_gather(gradients.graph(), {ddx, dx.shape}, indices, batch_axes, dy.shape));
}

// ---- Layers ------------------------------------------------------------------------------------------------------

namespace {

struct ReshapeLayer final : ArrayLayer {
  bool passes_gradient = true;

  void check() const override {
    require_inputs(1);
    require(equally_large(input_shapes[0], shape), "a reshaped array has as many elements as before");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    Graph& graph = builder.graph();
    const Array y = add_array(graph, shape);
    const Array x = strided(graph, {inputs[0].value, shape});
    add_copy(graph, x, y, passes_gradient);
    return y;
  }
  bool keeps_rows(size_t) const override { return true; }
};

struct TransposeLayer final : ArrayLayer {
  std::vector<int> axes;

  void check() const override {
    require_inputs(1);
    Shape expected;
    for (const int axis : axes) expected.push_back(input_shapes[0][static_cast<size_t>(axis)]);
    require(shape == expected, "a transposed array has the axes of the input");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_transpose(builder.graph(), inputs[0], axes);
  }
  bool keeps_rows(size_t) const override { return axes[0] == 0; }
};

struct SliceLayer final : ArrayLayer {
  Selection selection;

  void check() const override {
    require_inputs(1);
    const Shape& from = input_shapes[0];
    require(from.size() == shape.size() && from.size() == selection.begin.size(), "a slice keeps the number of axes");
    for (size_t i = 0; i < from.size(); ++i) {
      const Extent& begin = selection.begin[i];
      const int64_t step = selection.step[i];
      // Each index grows or falls linearly with the number of samples, so it is enough to look at few and many.
      for (const int64_t samples : {int64_t{1}, int64_t{1} << 20}) {
        const int64_t count = shape[i].at(samples), first = begin.at(samples), last = first + (count - 1) * step;
        const int64_t length = from[i].at(samples);
        const bool inside = first >= 0 && first < length && last >= 0 && last < length;
        require(count <= 0 || inside, "a slice lies within the input");
      }
    }
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_selected<Slice>(builder.graph(), inputs[0], shape, selection);
  }
  bool keeps_rows(size_t) const override { return keeps_first(selection, input_shapes[0], shape); }
};

struct JoinLayer final : ArrayLayer {
  int axis = 0;

  void check() const override {
    Extent length;
    for (const Shape& part : input_shapes) {
      require(part.size() == shape.size(), "joined arrays have equally many axes");
      for (size_t i = 0; i < part.size(); ++i) {
        if (i != static_cast<size_t>(axis)) require(part[i] == shape[i], "joined arrays differ along one axis alone");
      }
      length = sum_of(length, part[static_cast<size_t>(axis)]);
    }
    require(length == shape[static_cast<size_t>(axis)], "joined arrays lie one behind the other");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    Graph& graph = builder.graph();
    std::vector<Array> parts;
    for (const Array& input : inputs) parts.push_back(strided(graph, input));
    const Array y = add_array(graph, shape);
    const Loop loop = row_loop(graph, y);
    const bool by_row = axis != 0 && std::all_of(parts.begin(), parts.end(),
                                                 [&](const Array& part) { return row_loop(graph, part) == loop; });
    auto& join = graph.add<Join>();
    join.parts = parts;
    join.y = y;
    join.axis = axis;
    join.rows = by_row ? loop : kWhole;
    return y;
  }
  bool keeps_rows(size_t) const override { return axis != 0; }
};

struct GatherLayer final : ArrayLayer {
  int batch_axes = 0;

  void check() const override {
    require_inputs(2);
    const Shape &x = input_shapes[0], &indices = input_shapes[1];
    const auto batch = static_cast<size_t>(batch_axes);
    require(batch_axes >= 0 && batch < x.size() && batch <= indices.size() &&
                std::equal(x.begin(), x.begin() + batch_axes, indices.begin()),
            "both inputs of a gather begin with the same batch axes");
    Shape expected = indices;
    expected.insert(expected.end(), x.begin() + batch_axes + 1, x.end());
    require(shape == expected, "a gather replaces an axis by those of its indices");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_gather(builder.graph(), inputs[0], inputs[1], batch_axes, shape);
  }
  bool keeps_rows(size_t input) const override { return batch_axes > 0 || input == 1; }
};

}  // namespace

std::shared_ptr<Layer> read_reshape(const Attributes& attributes) {
  auto layer = std::make_shared<ReshapeLayer>();
  layer->read_shapes(attributes);
  return layer;
}

std::shared_ptr<Layer> read_stop_gradient(const Attributes& attributes) {
  auto layer = std::make_shared<ReshapeLayer>();
  layer->read_shapes(attributes);
  layer->passes_gradient = false;
  return layer;
}

std::shared_ptr<Layer> read_transpose(const Attributes& attributes) {
  auto layer = std::make_shared<TransposeLayer>();
  layer->read_shapes(attributes);
  std::vector<int> sorted;
  for (const int64_t axis : attributes.integers("axes")) layer->axes.push_back(static_cast<int>(axis));
  sorted = layer->axes;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int> all(layer->input_shapes.empty() ? 0 : layer->input_shapes[0].size());
  std::iota(all.begin(), all.end(), 0);
  if (sorted != all) attributes.refuse("a transpose names each axis of the input once:", "axes");
  return layer;
}

std::shared_ptr<Layer> read_slice(const Attributes& attributes) {
  auto layer = std::make_shared<SliceLayer>();
  layer->read_shapes(attributes);
  layer->selection.begin = attributes.shape("begin");
  layer->selection.step = attributes.integers("step");
  if (layer->selection.step.size() != layer->selection.begin.size()) {
    attributes.refuse("a slice has a step for each axis:", "step");
  }
  return layer;
}

std::shared_ptr<Layer> read_join(const Attributes& attributes) {
  auto layer = std::make_shared<JoinLayer>();
  layer->read_shapes(attributes);
  layer->axis = layer->read_axis(attributes);
  return layer;
}

std::shared_ptr<Layer> read_gather(const Attributes& attributes) {
  auto layer = std::make_shared<GatherLayer>();
  layer->read_shapes(attributes);
  layer->batch_axes = static_cast<int>(attributes.integer("batch_axes", 0));
  return layer;
}

}  // namespace engine::graph
