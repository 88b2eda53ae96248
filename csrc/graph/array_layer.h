// Layers of traced functions: nodes of a model that read and compute arrays of any shape.
#pragma once
#include <vector>

#include "graph/array.h"
#include "graph/layer.h"

namespace engine::graph {

/// A node that reads its inputs under shapes of its own choice, and says which shape its output has. A variable can be
/// an input, too.
struct ArrayLayer : Layer {
  std::vector<Shape> input_shapes;
  Shape shape;  // of the output

  /// Reads both from the attributes "input_shapes" and "shape".
  void read_shapes(const Attributes& attributes);

  /// The attribute "axes" (ascending) or "axis": axes of the first input.
  std::vector<int> read_axes(const Attributes& attributes) const;
  int read_axis(const Attributes& attributes) const;

  /// Throws std::invalid_argument where the shapes don't fit the layer.
  virtual void check() const {}
  /// Appends the operations that compute the output.
  virtual Array build_array(Builder& builder, const std::vector<Array>& inputs) const = 0;

  bool joins_samples() const override;
  bool reads_arrays() const final { return true; }
  Shape output_shape(const LayerInputs& inputs) const override;
  int64_t output_size(const LayerInputs&) const final { return 0; }  // `output_shape` says it
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override;

 protected:
  /// Whether the output has the rows of each sample where input `input`, whose first axis runs over samples, has them.
  virtual bool keeps_rows(size_t input) const {
    return input_shapes[input].size() == shape.size() && input_shapes[input][0] == shape[0];
  }

  void require_inputs(size_t count) const;
  void require(bool condition, const char* what) const;
};

}  // namespace engine::graph
