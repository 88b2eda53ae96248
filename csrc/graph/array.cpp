#include "graph/array.h"

#include <algorithm>

#include "graph/operations/arrangement.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

/// Whether a length is 1 whatever the number of samples is.
bool is_one(const Extent& extent) { return extent.fixed == 1 && extent.per_sample == 0; }

bool depends_on_samples(const Extent& extent) { return extent.per_sample != 0; }

/// The product of the lengths from axis `first` to the end; none of them depends on the samples.
int64_t product(const Shape& shape, size_t first) {
  int64_t numbers = 1;
  for (size_t i = first; i < shape.size(); ++i) numbers *= shape[i].fixed;
  return numbers;
}

/// Whether the last axes of `shape` together are one row of a batch, of `columns` numbers. Then no axis crosses the end
/// of a row, and each has a stride.
bool fits_rows(const Shape& shape, int64_t columns) {
  int64_t numbers = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (numbers == columns) return true;
    if (depends_on_samples(shape[i])) return false;
    numbers *= shape[i].fixed;
  }
  return numbers == columns;
}

}  // namespace

int64_t element_count(const Shape& shape, int64_t samples) {
  int64_t numbers = 1;
  for (const Extent& extent : shape) numbers *= std::max<int64_t>(extent.at(samples), 0);
  return numbers;
}

/// The number of elements is a polynomial in the number of samples, of a degree no higher than the number of axes. Two
/// of them are equal if they agree for more numbers of samples than that.
bool equally_large(const Shape& a, const Shape& b) {
  const auto most_samples = static_cast<int64_t>(std::max(a.size(), b.size())) + 1;
  const auto numbers = [](const Shape& shape, int64_t samples) {
    double product = 1.0;  // large enough for every shape that memory holds
    for (const Extent& extent : shape) product *= static_cast<double>(extent.at(samples));
    return product;
  };
  for (int64_t samples = 1; samples <= most_samples; ++samples) {
    if (numbers(a, samples) != numbers(b, samples)) return false;
  }
  return true;
}

int64_t rows_per_sample(const Shape& shape, int64_t batch) {
  if (shape.empty() || std::any_of(shape.begin() + 1, shape.end(), depends_on_samples)) return 0;
  const Extent& first = shape[0];
  if (batch > 0) return first.fixed > 0 && first.fixed % batch == 0 ? first.fixed / batch : 0;
  return first.fixed == 0 ? first.per_sample : 0;
}

int64_t elements_per_sample(const Shape& shape, int64_t batch) {
  return rows_per_sample(shape, batch) * product(shape, 1);
}

Shape resolved(const Shape& shape, int64_t batch) {
  if (batch == 0) return shape;
  Shape numbers;
  for (const Extent& extent : shape) numbers.push_back({extent.at(batch), 0});
  return numbers;
}

std::string text_of(const Shape& shape) {
  std::string text;
  for (const Extent& extent : shape) {
    std::string length;
    if (extent.per_sample != 0) length = (extent.per_sample == 1 ? "" : std::to_string(extent.per_sample)) + "b";
    if (extent.fixed != 0 || length.empty()) {
      length += (length.empty() || extent.fixed < 0 ? "" : "+") + std::to_string(extent.fixed);
    }
    text += (text.empty() ? "" : ", ") + length;
  }
  return "(" + text + (shape.size() == 1 ? ",)" : ")");
}

Array add_array(Graph& graph, const Shape& shape) {
  const int64_t rows = rows_per_sample(shape, graph.batch);
  // Each row of a batch begins a cache line, which does not pay for single numbers.
  if (rows > 0 && shape.size() == 2 && shape[1].fixed > 1) return {graph.add_batch(rows, shape[1].fixed), shape};
  Value value;
  value.kind = Value::Kind::kArray;
  value.shape = shape;
  return {graph.add_value(value), shape};
}

Shape shape_of(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  if (value.kind == Value::Kind::kArray) return value.shape;
  if (value.kind == Value::Kind::kBatch) return resolved({{0, value.groups}, {value.columns, 0}}, graph.batch);
  return {{value.rows, 0}, {value.columns, 0}};
}

Array with_strides(Graph& graph, const Array& array) {
  const Value& value = graph.value(array.value);
  if (value.kind != Value::Kind::kBatch || fits_rows(array.shape, value.columns)) return array;
  return {laid_out_as_array(graph, {array.value, shape_of(graph, array.value)}, array.shape), array.shape};
}

ValueId laid_out_as_array(Graph& graph, const Array& array, const Shape& shape) {
  Value value;
  value.kind = Value::Kind::kArray;
  value.shape = shape;
  const ValueId copied = graph.add_value(value);
  add_copy(graph, array, {copied, array.shape});
  return copied;
}

ValueId laid_out_like(Graph& graph, const Array& array, ValueId like) {
  const Value from = graph.value(array.value);  // a copy, since values that are added move the others
  const Value to = graph.value(like);
  if (to.kind == Value::Kind::kArray) {
    if (from.kind == Value::Kind::kArray) return array.value;
    return laid_out_as_array(graph, with_strides(graph, array), to.shape);
  }
  if (from.kind == Value::Kind::kBatch && from.groups == to.groups && from.columns == to.columns) return array.value;
  const Shape shape = shape_of(graph, like);
  const ValueId copied = graph.add_like(like);
  if (from.kind == Value::Kind::kBatch) {
    add_copy_of_rows(graph, array.value, copied);
  } else {
    add_copy(graph, {array.value, shape}, {copied, shape});
  }
  return copied;
}

/// The shape has an axis for the shorter rows, and one for those of them that make up a longer row, so that both values
/// have strides. Where no row is made up of the other ones, there is a copy without rows between the two.
void add_copy_of_rows(Graph& graph, ValueId x, ValueId y) {
  const Value from = graph.value(x), to = graph.value(y);
  const Value &longer = from.columns > to.columns ? from : to, &shorter = from.columns > to.columns ? to : from;
  const Extent row{shorter.columns, 0};
  if (longer.columns % shorter.columns == 0) {
    const Shape shape{{0, longer.groups}, {longer.columns / shorter.columns, 0}, row};
    add_copy(graph, {x, resolved(shape, graph.batch)}, {y, resolved(shape, graph.batch)});
    return;
  }
  const Shape of_sample = resolved({{0, 1}, {from.groups * from.columns, 0}}, graph.batch);
  const ValueId between = laid_out_as_array(graph, as_array(graph, x), of_sample);
  add_copy(graph, {between, shape_of(graph, y)}, as_array(graph, y));
}

void require_axes(size_t count) {
  if (count > kMaxAxes) refuse("an array must have at most " + std::to_string(kMaxAxes) + " axes");
}

bool lie_alike(const Graph& graph, const Array& a, const Array& b) {
  const Value &of_a = graph.value(a.value), &of_b = graph.value(b.value);
  return a.shape == b.shape && of_a.kind == of_b.kind && of_a.groups == of_b.groups && of_a.columns == of_b.columns &&
         of_a.shape == of_b.shape;
}

Loop row_loop(const Graph& graph, const Array& array) {
  const Value& value = graph.value(array.value);
  if (value.kind == Value::Kind::kBatch) return has_sample_axis(array.shape, graph.batch) ? kSamples : kWhole;
  if (value.kind != Value::Kind::kArray || array.shape.empty()) return kWhole;
  if (has_sample_axis(array.shape, graph.batch) && has_sample_axis(value.shape, graph.batch)) return kSamples;
  return !value.shape.empty() && array.shape[0] == value.shape[0] ? kRows : kWhole;
}

bool is_single(const Shape& shape) { return std::all_of(shape.begin(), shape.end(), is_one); }

}  // namespace engine::graph
