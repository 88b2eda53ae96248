#include "graph/operations/normalization_gradient.h"

#include "graph/operations/map.h"
#include "graph/operations/reduction.h"

namespace engine::graph {
namespace {

/// Appends the register of the number of elements along an axis of this length.
int add_length(MapCode& code, const Extent& length) {
  const int fixed = code.add_constant(static_cast<float>(length.fixed));
  if (length.per_sample == 0) return fixed;
  const int samples = code.add(MapOp::kSamples), each = code.add_constant(static_cast<float>(length.per_sample));
  return code.add(MapOp::kAdd, fixed, code.add(MapOp::kMultiply, samples, each));
}

/// The mean along `axis`, with length 1 there.
Array add_mean(Graph& graph, const Array& x, int axis) {
  Array sum = add_sum(graph, x, {axis});
  sum.shape.insert(sum.shape.begin() + axis, Extent{1, 0});
  MapCode divide;
  divide.inputs = 1;
  const int length = add_length(divide, x.shape[static_cast<size_t>(axis)]);
  divide.add(MapOp::kDivide, 0, length);
  return add_map(graph, {sum}, sum.shape, divide);
}

}  // namespace

Array add_normalization_gradient(Graph& graph, const Array& x, ValueId dy, int axis, float epsilon, bool centred) {
  const Shape& shape = x.shape;
  const auto combined = [&](MapOp op, const Array& a, const Array& b) { return add_map(graph, op, a, b, shape); };
  const Array upstream{dy, shape};
  const Array d = centred ? combined(MapOp::kSubtract, x, add_mean(graph, x, axis)) : x;
  const Array variance = add_mean(graph, combined(MapOp::kMultiply, d, d), axis);
  MapCode root;
  root.inputs = 1;
  const int least = root.add_constant(epsilon);
  root.add(MapOp::kSqrt, root.add(MapOp::kAdd, 0, least));
  const Array deviation = add_map(graph, {variance}, variance.shape, root);
  const Array y = combined(MapOp::kDivide, d, deviation);
  const Array along = add_mean(graph, combined(MapOp::kMultiply, upstream, y), axis);
  Array rest = combined(MapOp::kSubtract, upstream, combined(MapOp::kMultiply, y, along));
  if (centred) rest = combined(MapOp::kSubtract, rest, add_mean(graph, upstream, axis));
  return combined(MapOp::kDivide, rest, deviation);
}

}  // namespace engine::graph
