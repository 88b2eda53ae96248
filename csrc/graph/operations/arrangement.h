// Operations that move the numbers of arrays: copies, transposes, slices, joined arrays, rows chosen by index.
#pragma once
#include <memory>
#include <vector>

#include "formulas/kinds.h"
#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

struct GradientRule;  // graph/operations/custom_gradient.h

/// y = x: the same numbers in the same order, in another memory layout
struct Copy final : Operation {
  Array x, y;          // of one shape
  Loop rows = kWhole;  // the loop over the first axes, where threads may share them
  bool passes_gradient = true;
  std::shared_ptr<const GradientRule> rule;  // in place of that of a copy, or null
  std::vector<Array> read;                   // what the rule reads beside the gradient by y

  const char* name() const override { return "copy"; }
  std::vector<Operand> operands() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y[i_0, i_1, ...]: axis k of y is axis axes[k] of x
struct Transpose final : Operation {
  Array x, y;
  std::vector<int> axes;
  Loop rows = kWhole;  // the loop over the first axes, where threads may share them

  const char* name() const override { return "transpose"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// Which elements of an array a slice has: begin, begin + step, begin + 2 step, ... along each axis. A step may be
/// negative. How many they are, the shape of the slice says.
struct Selection {
  std::vector<Extent> begin;
  std::vector<int64_t> step;
};

/// y[i,j,...] = x[begin_0 + i step_0, begin_1 + j step_1, ...]
struct Slice final : Operation {
  Array x, y;
  Selection selection;
  Loop rows = kWhole;  // the loop over the first axes, where threads may share them

  const char* name() const override { return "slice"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y = 0 except y[begin_0 + i step_0, begin_1 + j step_1, ...] = x[i,j,...]
struct PlaceSlice final : Operation {
  Array x, y;
  Selection selection;
  Loop rows = kWhole;  // the loop over the first axes, where threads may share them

  const char* name() const override { return "place_slice"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y = the parts, concatenated along an axis
struct Join final : Operation {
  std::vector<Array> parts;
  Array y;
  int axis = 0;
  Loop rows = kWhole;  // the loop over the first axes, where threads may share them

  const char* name() const override { return "join"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y[b..., i..., r...] = x[b..., indices[b..., i...], r...], where b... are the first `batch_axes` axes of x and of the
/// indices. The indices are floats. Where one is out of range, the numbers of y are NaN.
struct Gather final : Operation {
  Array x, indices, y;
  int batch_axes = 0;
  Loop rows = kWhole;  // the loop over the first axes, where threads may share them

  const char* name() const override { return "gather"; }
  std::vector<Operand> operands() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// y = initial, then each x[b..., i..., r...] is added to y[b..., indices[b..., i...], r...], or the larger of both
/// stays there, in the order of the indices. Indices that are out of range are left out.
struct Scatter final : Operation {
  Array x, indices, y;
  Reduction kind = Reduction::kSum;  // or kMaximum
  float initial = 0.0f;
  int batch_axes = 0;
  Loop rows = kWhole;  // the loop over the first axes, where threads may share them

  const char* name() const override { return "scatter"; }
  std::vector<Operand> operands() const override;
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// Appends a `Gather`, and returns its output, which has the shape `shape`.
Array add_gather(Graph& graph, const Array& x, const Array& indices, int batch_axes, const Shape& shape);

/// Appends a `Scatter` of sums, which begin as 0, and returns its output, which has the shape `shape`.
Array add_scatter(Graph& graph, const Array& x, const Array& indices, int batch_axes, const Shape& shape);

/// Appends a `Transpose` or a `Join` that writes `y`, a new value.
void add_transpose_to(Graph& graph, const Array& y, const Array& x, const std::vector<int>& axes);
void add_join_to(Graph& graph, const Array& y, const std::vector<Array>& inputs, int axis);

/// Joins those of some terms that are parts of an array, each placed among zeros, if they make up the whole array
/// together: that is their sum. All other terms stay as they are.
std::vector<Array> with_parts_joined(Graph& graph, const std::vector<Array>& terms);

/// Appends y = x, and returns the operation.
Copy& add_copy(Graph& graph, const Array& x, const Array& y, bool passes_gradient = true);

std::shared_ptr<Layer> read_reshape(const Attributes& attributes);
std::shared_ptr<Layer> read_stop_gradient(const Attributes& attributes);
std::shared_ptr<Layer> read_transpose(const Attributes& attributes);
std::shared_ptr<Layer> read_slice(const Attributes& attributes);
std::shared_ptr<Layer> read_join(const Attributes& attributes);
std::shared_ptr<Layer> read_gather(const Attributes& attributes);
std::shared_ptr<Layer> read_scatter(const Attributes& attributes);

}  // namespace engine::graph
