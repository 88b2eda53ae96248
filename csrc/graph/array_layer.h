// Layers that traced functions are made of: they read and compute arrays of any shape.
#pragma once
#include <vector>

#include "graph/array.h"
#include "graph/layer.h"

namespace engine::graph {

/// A layer that reads each input under a shape of its own choice, and says which shape its output has. An input may be
/// a variable. A kind of layer overrides `build_array`, or `build` if its inputs or its output are no arrays.
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
  /// Appends the operations that compute the output from the inputs, a variable among which is read row by row.
  virtual Array build_array(Builder&, const std::vector<Array>& /*inputs*/) const { return {}; }

  bool joins_samples() const override;
  bool reads_arrays() const final { return true; }
  Shape output_shape(const LayerInputs& inputs) const override;
  int64_t output_size(const LayerInputs&) const final { return 0; }  // `output_shape` says it
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override;

 protected:
  /// Whether row i of the output is computed from row i of an input alone. Asked where the first axes of both run over
  /// samples: if the answer is no, samples depend on each other.
  virtual bool keeps_rows(size_t input) const {
    return input_shapes[input].size() == shape.size() && input_shapes[input][0] == shape[0];
  }

  void require_inputs(size_t count) const;
  /// Throws std::invalid_argument unless the condition holds: `rule`, and the shapes that break it.
  void require(bool condition, const char* rule) const;
};

}  // namespace engine::graph
