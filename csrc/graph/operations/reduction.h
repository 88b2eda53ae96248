// Sums, products and extremes along axes of an array.
#pragma once
#include <vector>

#include "formulas/kinds.h"
#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// y = x summed (or otherwise combined) over some of its axes. The shape of y has the other axes of x.
struct Reduce final : Operation {
  Reduction kind = Reduction::kSum;
  Array x, y;
  std::vector<int> axes;   // ascending; the argument of an extreme has one
  bool by_column = false;  // whether x is (b, n), and threads share the columns of the sums over b
  Loop rows = kWhole;      // the loop over the first axis of x and y, if the operation keeps it

  bool reduces(int axis) const;
  /// Finds how threads may share the operation.
  void find_loops(const Graph& graph);
  const char* name() const override { return "reduce"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// dx[..., j, ...] = dy times the product of all other elements along the axes, also where some of them are 0. Where
/// there is a `direction`, the elements behind j, or those before j, are replaced by the derivative of their product in
/// this direction; the two together are the derivative of the gradient.
struct ProductGradient final : Operation {
  enum class Part { kBehind, kBefore };

  Array x, dy, dx;  // dy has the shape of `y` of the product
  Array direction;  // of the shape of x; without a value where there is none
  Part part = Part::kBehind;
  std::vector<int> axes;

  const char* name() const override { return "product_gradient"; }
  std::vector<Operand> operands() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y[..., j, ...] = the sum of x[..., 0 to j, ...] along `axis`, or of x[..., j to the end, ...]
struct CumulativeSum final : Operation {
  Array x, y;
  int axis = 0;
  bool reverse = false;
  Loop rows = kWhole;  // the loop over the first axis, if it is another one

  void find_loops(const Graph& graph);

  const char* name() const override { return "cumulative_sum"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// Appends a `Reduce`, and returns its output.
Array add_reduce(Graph& graph, Reduction kind, const Array& x, const std::vector<int>& axes);

/// The sum over `axes`.
Array add_sum(Graph& graph, const Array& x, const std::vector<int>& axes);

/// The gradient by an input of shape `shape` that was broadcast to the shape of `dy`: the sum over what was repeated.
Array sum_to(Graph& graph, const Array& dy, const Shape& shape);

/// `shape` with axes of length 1 in place of `axes`.
Shape with_ones(const Shape& shape, const std::vector<int>& axes);

std::shared_ptr<Layer> read_reduce(const Attributes& attributes);
std::shared_ptr<Layer> read_cumulative_sum(const Attributes& attributes);

}  // namespace engine::graph
