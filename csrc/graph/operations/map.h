// Elementwise functions: those that users write, and what layers, gradients and optimizers are made of.
#pragma once
#include <optional>
#include <vector>

#include "graph/array_layer.h"
#include "graph/operation.h"
#include "graph/operations/arrangement.h"
#include "graph/operations/map_code.h"

namespace engine::graph {

/// How a map reads an input where it lies, in place of a copy: the elements that a slice selects, or the array where a
/// `PlaceSlice` puts it among zeros. The array has as many axes as the output of the map. Only a slice may have further
/// ones before these, along which it has one index.
struct Window {
  enum class Kind { kWhole, kSlice, kPlaced };

  Kind kind = Kind::kWhole;
  Selection selection;
  Loop rows = kWhole;  // the loop over the first axis, if it is whole

  bool is_whole() const { return kind == Kind::kWhole; }
};

/// y[i,j,...] = code(inputs[0][i,j,...], inputs[1][i,j,...], ...). The shapes of the inputs are aligned at their last
/// axes and broadcast, as in NumPy. No array is an input twice. There may be several outputs of one shape, each from a
/// register of its own.
struct Map final : Operation {
  std::vector<Array> inputs, outputs;
  std::vector<Window> windows;  // by input; none if all inputs are read whole
  MapCode code;
  std::vector<int> results;    // the registers of the outputs
  bool by_column = false;      // whether y is (b, n) and all inputs are (b, n), (b, 1), (n) or single numbers
  std::vector<Operand> loops;  // the operands: the outputs, then the inputs
  InPlace pair;                // the last output, and an input that is laid out like it

  const Array& y() const { return outputs.front(); }
  bool reads_whole(size_t input) const { return windows.empty() || windows[input].is_whole(); }
  /// Finds how threads may share the map and its memory, from the shapes of its inputs and its outputs.
  void find_loops(const Graph& graph);

  const char* name() const override { return "map"; }
  std::vector<Operand> operands() const override { return loops; }
  std::string attributes() const override;
  InPlace in_place() const override { return pair; }
  void differentiate(Differentiation& gradients) const override;
};

/// The number of an input among others, behind which it is added if it is none of them.
int place_among(std::vector<Array>& inputs, const Array& input);

/// Appends a map, and returns its output. That is laid out in memory like the value `like`, if there is one, which has
/// as many elements.
Array add_map(Graph& graph, const std::vector<Array>& inputs, const Shape& shape, const MapCode& code,
              ValueId like = kNoValue);

/// Appends a map that writes `y`, a new value.
void add_map_to(Graph& graph, const Array& y, const std::vector<Array>& inputs, const MapCode& code);

/// a op b, of equal shapes or one that is broadcast to `shape`.
Array add_map(Graph& graph, MapOp op, const Array& a, const Array& b, const Shape& shape, ValueId like = kNoValue);

/// The sum of arrays of equal shapes, from the left, laid out in memory like the first one.
Array add_terms(Graph& graph, const std::vector<Array>& terms);

/// scale x + offset, rounded once
struct Rescaling {
  float scale, offset;
};
MapCode code_of(const Rescaling& rescaling);

/// The numbers of a map that does nothing but to rescale a value, as it lies; nothing for other maps.
std::optional<Rescaling> rescaling_of(const Graph& graph, const Map& map);

std::shared_ptr<Layer> read_map(const Attributes& attributes);

}  // namespace engine::graph
