#include "graph/operations/arrangement.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/custom_gradient.h"
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
    const std::string begin = graph::text_of(Shape{selection.begin[i]});  // such as "(2b,)"
    text += (text.empty() ? "" : ", ") + begin.substr(1, begin.size() - 3) + ":";
    if (selection.step[i] != 1) text += ":" + std::to_string(selection.step[i]);
  }
  return "[" + text + "]";
}

/// Appends an operation that reads `x` and writes `y`. Threads share the first axes of both where `by_row` says that
/// row i of y comes from row i of x.
template <class Op>
Op& add_rearranged(Graph& graph, const Array& x, const Array& y, bool by_row) {
  const Array read = with_strides(graph, x);
  auto& added = graph.add<Op>();
  added.x = read;
  added.y = y;
  added.rows = by_row && row_loop(graph, read) == row_loop(graph, y) ? row_loop(graph, y) : kWhole;
  return added;
}

/// A new value for the gradient by `x`, which lies as x does.
Array add_gradient_by(Graph& graph, const Array& x) { return {graph.add_like(x.value), x.shape}; }

template <class Op>
std::vector<Operand> operands_of(const Op& op) {
  return {writes(op.y.value, op.rows, kWhole), reads(op.x.value, op.rows, kWhole)};
}

/// Whether a slice of an array of shape `from`, which gets the shape `to`, has all of its rows in their order.
bool selects_all_rows(const Selection& selection, const Shape& from, const Shape& to) {
  return !from.empty() && selection.begin[0] == Extent{} && selection.step[0] == 1 && from[0] == to[0];
}

/// Appends a `Slice` or a `PlaceSlice` of `x`, and returns its output, y.
template <class Op>
Array add_selected(Graph& graph, const Array& x, const Array& y, const Selection& selection) {
  add_rearranged<Op>(graph, x, y, selects_all_rows(selection, x.shape, y.shape)).selection = selection;
  return y;
}

/// The selection of whole axes.
Selection select_all(size_t axes) {
  Selection all;
  all.begin.resize(axes);
  all.step.assign(axes, 1);
  return all;
}

/// Whether a slice has all elements of an array of shape `from`, if in another order; then it is its own inverse.
bool is_reversal(const Selection& selection, const Shape& from, const Shape& to) {
  for (size_t i = 0; i < selection.step.size(); ++i) {
    if (from[i] != to[i] || (selection.step[i] != 1 && selection.step[i] != -1)) return false;
  }
  return true;
}

Extent sum_of(const Extent& a, const Extent& b) { return {a.fixed + b.fixed, a.per_sample + b.per_sample}; }

}  // namespace

// ---- Copies and transposes ---------------------------------------------------------------------------------------

std::vector<Operand> Copy::operands() const {
  std::vector<Operand> found = operands_of(*this);
  for (const Array& each : read) found.push_back(reads(each.value, kWhole, kWhole));
  return found;
}

void Copy::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !passes_gradient) return;
  if (rule) return rule->apply(gradients, {dy, y.shape}, y, read);
  gradients.contribute(x, {dy, y.shape});
}

Copy& add_copy(Graph& graph, const Array& x, const Array& y, bool passes_gradient) {
  auto& copy = graph.add<Copy>();
  copy.x = x;
  copy.y = y;
  copy.rows = row_loop(graph, x) == row_loop(graph, y) ? row_loop(graph, y) : kWhole;
  copy.passes_gradient = passes_gradient;
  return copy;
}

std::vector<Operand> Transpose::operands() const { return operands_of(*this); }

std::string Transpose::attributes() const { return text_of_axes(axes); }

void add_transpose_to(Graph& graph, const Array& y, const Array& x, const std::vector<int>& axes) {
  add_rearranged<Transpose>(graph, x, y, !axes.empty() && axes[0] == 0).axes = axes;
}

void Transpose::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  std::vector<int> inverse(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) inverse[static_cast<size_t>(axes[i])] = static_cast<int>(i);
  Graph& graph = gradients.graph();
  const Array dx = add_gradient_by(graph, x);
  add_transpose_to(graph, dx, {dy, y.shape}, inverse);
  gradients.contribute(x, dx);
}

// ---- Slices ------------------------------------------------------------------------------------------------------

std::vector<Operand> Slice::operands() const { return operands_of(*this); }
std::string Slice::attributes() const { return text_of(selection); }

void Slice::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  Graph& graph = gradients.graph();
  const Array read{dy, y.shape}, dx = add_gradient_by(graph, x);
  gradients.contribute(x, is_reversal(selection, x.shape, y.shape)
                              ? add_selected<Slice>(graph, read, dx, selection)
                              : add_selected<PlaceSlice>(graph, read, dx, selection));
}

std::vector<Operand> PlaceSlice::operands() const { return operands_of(*this); }
std::string PlaceSlice::attributes() const { return text_of(selection); }

void PlaceSlice::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  Graph& graph = gradients.graph();
  gradients.contribute(x, add_selected<Slice>(graph, {dy, y.shape}, add_gradient_by(graph, x), selection));
}

// ---- Joined arrays -----------------------------------------------------------------------------------------------

std::vector<Operand> Join::operands() const {
  std::vector<Operand> all{writes(y.value, rows, kWhole)};
  for (const Array& part : parts) all.push_back(reads(part.value, rows, kWhole));
  return all;
}

std::string Join::attributes() const { return "axis=" + std::to_string(axis); }

void add_join_to(Graph& graph, const Array& y, const std::vector<Array>& inputs, int axis) {
  std::vector<Array> parts;
  for (const Array& input : inputs) parts.push_back(with_strides(graph, input));
  const Loop loop = row_loop(graph, y);
  const bool by_row = axis != 0 && std::all_of(parts.begin(), parts.end(),
                                               [&](const Array& part) { return row_loop(graph, part) == loop; });
  auto& join = graph.add<Join>();
  join.parts = std::move(parts);
  join.y = y;
  join.axis = axis;
  join.rows = by_row ? loop : kWhole;
}

void Join::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue) return;
  Graph& graph = gradients.graph();
  Selection selection = select_all(y.shape.size());
  Extent& begin = selection.begin[static_cast<size_t>(axis)];
  for (const Array& part : parts) {
    if (gradients.wants(part.value)) {
      gradients.contribute(part, add_selected<Slice>(graph, {dy, y.shape}, add_gradient_by(graph, part), selection));
    }
    begin = sum_of(begin, part.shape[static_cast<size_t>(axis)]);
  }
}

namespace {

/// The axis along which a part lies among zeros, which has all of the other axes; -1 if there are several, or gaps
/// between its elements.
int axis_of_part(const PlaceSlice& part) {
  int axis = -1;
  for (size_t i = 0; i < part.selection.step.size(); ++i) {
    if (part.selection.step[i] != 1) return -1;
    if (part.x.shape[i] == part.y.shape[i]) continue;
    if (axis >= 0 || part.x.shape[i].per_sample != 0 || part.selection.begin[i].per_sample != 0) return -1;
    axis = static_cast<int>(i);
  }
  return axis;
}

}  // namespace

std::vector<Array> with_parts_joined(Graph& graph, const std::vector<Array>& terms) {
  std::vector<const PlaceSlice*> parts;
  std::vector<Array> joined;
  int axis = -1;
  size_t place = 0;  // of the joined array among the terms
  for (const Array& term : terms) {
    const auto& operations = graph.operations();
    const auto found = std::find_if(operations.rbegin(), operations.rend(), [&](const auto& operation) {
      const auto* const part = dynamic_cast<const PlaceSlice*>(operation.get());
      return part && part->y.value == term.value;
    });
    const auto* const part = found == operations.rend() ? nullptr : static_cast<const PlaceSlice*>(found->get());
    const int own = part && part->y.shape == term.shape ? axis_of_part(*part) : -1;
    if (own < 0 || (axis >= 0 && own != axis)) {
      joined.push_back(term);
      continue;
    }
    if (parts.empty()) place = joined.size();
    axis = own;
    parts.push_back(part);
  }
  if (parts.size() < 2) return terms;
  const auto along = static_cast<size_t>(axis);
  const auto begin_of = [&](const PlaceSlice* part) { return part->selection.begin[along].fixed; };
  std::stable_sort(parts.begin(), parts.end(),
                   [&](const PlaceSlice* a, const PlaceSlice* b) { return begin_of(a) < begin_of(b); });
  const Array like = parts.front()->y;
  std::vector<Array> inputs;
  int64_t end = 0;
  for (const PlaceSlice* part : parts) {
    if (begin_of(part) != end) return terms;
    end += part->x.shape[along].fixed;
    inputs.push_back(part->x);
  }
  if (like.shape[along] != Extent{end, 0}) return terms;
  const Array y{graph.add_like(like.value), like.shape};
  add_join_to(graph, y, inputs, axis);
  joined.insert(joined.begin() + static_cast<std::ptrdiff_t>(place), y);
  return joined;
}

// ---- Rows by index -----------------------------------------------------------------------------------------------

namespace {

/// The loop over the first axes of a gather or a scatter from `from` to `to`. Without batch axes, any row may be read
/// or changed by any index.
Loop shared_rows(const Graph& graph, int batch_axes, const Array& from, const Array& indices, const Array& to) {
  const Loop loop = row_loop(graph, to);
  const bool same = batch_axes > 0 && row_loop(graph, from) == loop && row_loop(graph, indices) == loop;
  return same ? loop : kWhole;
}

}  // namespace

namespace {

Array add_scatter(Graph& graph, Reduction kind, float initial, const Array& x, const Array& indices, int batch_axes,
                  const Shape& shape) {
  const Array read = with_strides(graph, x), at = with_strides(graph, indices), y = add_array(graph, shape);
  auto& scatter = graph.add<Scatter>();
  scatter.x = read;
  scatter.indices = at;
  scatter.y = y;
  scatter.kind = kind;
  scatter.initial = initial;
  scatter.batch_axes = batch_axes;
  scatter.rows = shared_rows(graph, batch_axes, read, at, y);
  return y;
}

}  // namespace

Array add_scatter(Graph& graph, const Array& x, const Array& indices, int batch_axes, const Shape& shape) {
  return add_scatter(graph, Reduction::kSum, 0.0f, x, indices, batch_axes, shape);
}

Array add_gather(Graph& graph, const Array& x, const Array& indices, int batch_axes, const Shape& shape) {
  const Array read = with_strides(graph, x), at = with_strides(graph, indices), y = add_array(graph, shape);
  auto& gather = graph.add<Gather>();
  gather.x = read;
  gather.indices = at;
  gather.y = y;
  gather.batch_axes = batch_axes;
  gather.rows = shared_rows(graph, batch_axes, read, at, y);
  return y;
}

std::vector<Operand> Gather::operands() const {
  return {writes(y.value, rows, kWhole), reads(x.value, rows, kWhole), reads(indices.value, rows, kWhole)};
}

void Gather::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  gradients.contribute(x, add_scatter(gradients.graph(), {dy, y.shape}, indices, batch_axes, x.shape));
}

std::vector<Operand> Scatter::operands() const {
  return {writes(y.value, rows, kWhole), reads(x.value, rows, kWhole), reads(indices.value, rows, kWhole)};
}

std::string Scatter::attributes() const { return kReductionNames[static_cast<size_t>(kind)]; }

void Scatter::differentiate(Differentiation& gradients) const {
  if (kind != Reduction::kSum) return gradients.require_no_gradient(*this);
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue || !gradients.wants(x.value)) return;
  gradients.contribute(x, add_gather(gradients.graph(), {dy, y.shape}, indices, batch_axes, x.shape));
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
    const Array x = with_strides(graph, {inputs[0].value, shape});
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
    const Array y = add_array(builder.graph(), shape);
    add_transpose_to(builder.graph(), y, inputs[0], axes);
    return y;
  }
  bool keeps_rows(size_t) const override { return axes[0] == 0; }
};

constexpr int64_t kManySamples = int64_t{1} << 20;

/// The number of samples from which on an axis has elements; 1 where that does not depend on it.
int64_t fewest_samples(const Extent& length) {
  if (length.per_sample == 0) return 1;
  return std::max<int64_t>((length.per_sample - length.fixed) / length.per_sample, 1);
}

struct SliceLayer final : ArrayLayer {
  Selection selection;

  void check() const override {
    require_inputs(1);
    const Shape& from = input_shapes[0];
    require(from.size() == shape.size() && from.size() == selection.begin.size(), "a slice keeps the number of axes");
    for (size_t i = 0; i < from.size(); ++i) {
      // Each index grows or falls linearly with the number of samples, so that two batches tell about all between them:
      // the smallest one for which the slice has any elements, and a large one.
      for (const int64_t samples : {fewest_samples(shape[i]), kManySamples}) {
        const int64_t first = selection.begin[i].at(samples), count = shape[i].at(samples);
        const int64_t last = first + (count - 1) * selection.step[i], length = from[i].at(samples);
        const bool inside = first >= 0 && first < length && last >= 0 && last < length;
        require(count <= 0 || inside, "a slice must lie within its input in a batch of any number of samples");
      }
    }
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_selected<Slice>(builder.graph(), inputs[0], add_array(builder.graph(), shape), selection);
  }
  bool keeps_rows(size_t) const override { return selects_all_rows(selection, input_shapes[0], shape); }
};

struct JoinLayer final : ArrayLayer {
  int axis = 0;

  void check() const override {
    Extent length;
    for (const Shape& part : input_shapes) {
      require(part.size() == shape.size(), "joined arrays have equally many axes");
      for (size_t i = 0; i < part.size(); ++i) {
        if (i != static_cast<size_t>(axis))
          require(part[i] == shape[i], "joined arrays may differ in the length of the joined axis alone");
      }
      const Extent& along = part[static_cast<size_t>(axis)];
      // A length below 0 is an empty axis, but would shorten the sum.
      require(along.at(1) >= 0, "each joined array must have a length of at least 0 in a batch of one sample");
      length = sum_of(length, along);
    }
    require(length == shape[static_cast<size_t>(axis)], "the length of joined arrays is the sum of their lengths");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    Graph& graph = builder.graph();
    const Array y = add_array(graph, shape);
    add_join_to(graph, y, inputs, axis);
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
    require(shape == expected,
            "a gather replaces one axis of its input by the axes of the indices after the batch axes");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_gather(builder.graph(), inputs[0], inputs[1], batch_axes, shape);
  }
  bool keeps_rows(size_t input) const override { return batch_axes > 0 || input == 1; }
};

struct ScatterLayer final : ArrayLayer {
  Reduction kind = Reduction::kSum;
  float initial = 0.0f;
  int batch_axes = 0;

  void check() const override {
    require_inputs(2);
    const Shape &x = input_shapes[0], &indices = input_shapes[1];
    const auto batch = static_cast<size_t>(batch_axes);
    require(kind == Reduction::kSum || kind == Reduction::kMaximum, "a scatter adds numbers or keeps the largest");
    require(batch_axes >= 0 && batch < shape.size() && batch <= indices.size() &&
                std::equal(shape.begin(), shape.begin() + batch_axes, indices.begin()),
            "the indices of a scatter and its output begin with the same batch axes");
    Shape expected = indices;
    expected.insert(expected.end(), shape.begin() + batch_axes + 1, shape.end());
    require(x == expected, "a scatter replaces the axes of the indices after the batch axes by one axis of its output");
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_scatter(builder.graph(), kind, initial, inputs[0], inputs[1], batch_axes, shape);
  }
  bool keeps_rows(size_t) const override { return batch_axes > 0; }
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
  for (const int64_t axis : attributes.integers("axes")) layer->axes.push_back(static_cast<int>(axis));
  std::vector<int> sorted = layer->axes;
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

std::shared_ptr<Layer> read_scatter(const Attributes& attributes) {
  auto layer = std::make_shared<ScatterLayer>();
  layer->read_shapes(attributes);
  layer->kind = attributes.choice<Reduction>("reduction", kReductionNames);
  layer->initial = attributes.single("initial");
  layer->batch_axes = static_cast<int>(attributes.integer("batch_axes", 0));
  return layer;
}

std::shared_ptr<Layer> read_gather(const Attributes& attributes) {
  auto layer = std::make_shared<GatherLayer>();
  layer->read_shapes(attributes);
  layer->batch_axes = static_cast<int>(attributes.integer("batch_axes", 0));
  return layer;
}

}  // namespace engine::graph
