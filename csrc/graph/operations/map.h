// Elementwise functions that a user wrote.
#pragma once
#include <vector>

#include "formulas/map_operations.h"
#include "graph/array_layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// What a map computes for each element of its output, as a list of instructions. The result is the last register.
struct MapCode {
  int inputs = 0;
  std::vector<MapInstruction> instructions;

  int registers() const { return inputs + static_cast<int>(instructions.size()); }
  /// Appends an instruction, and returns the number of its register.
  int add(MapOp op, int a = -1, int b = -1, int c = -1) {
    instructions.push_back({op, a, b, c, 0, 0.0f});
    return registers() - 1;
  }
  int add_constant(float number) {
    instructions.push_back({MapOp::kConstant, -1, -1, -1, 0, number});
    return registers() - 1;
  }
};

/// y[i,j,...] = code(inputs[0][i,j,...], inputs[1][i,j,...], ...). The shapes of the inputs are aligned at their last
/// axes and broadcast, as in NumPy.
struct Map final : Operation {
  std::vector<Array> inputs;
  Array y;
  MapCode code;
  bool by_column = false;      // whether y is (b, n) and all inputs are (b, n), (b, 1), (n) or single numbers
  std::vector<Operand> loops;  // the operands: y, then the inputs

  /// Finds how threads may share the map, from the shapes of its inputs and its output.
  void find_loops(const Graph& graph);

  const char* name() const override { return "map"; }
  std::vector<Operand> operands() const override { return loops; }
  std::string attributes() const override;
  void differentiate(Differentiation& gradients) const override;
};

/// Appends a map, and returns its output.
Array add_map(Graph& graph, const std::vector<Array>& inputs, const Shape& shape, const MapCode& code);

/// a op b, of equal shapes or one that is broadcast to `shape`.
Array add_map(Graph& graph, MapOp op, const Array& a, const Array& b, const Shape& shape);

/// The code of the derivative of `code` by input `input`, times a further input: the gradient by the output.
MapCode derivative(const MapCode& code, int input);

/// Maps that only one other map reads become a part of it, so that what is between them is never stored.
void fuse_maps(Graph& graph);

std::shared_ptr<Layer> read_map(const Attributes& attributes);

}  // namespace engine::graph
