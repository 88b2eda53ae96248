#include "graph/operations/map.h"

#include <algorithm>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/reduction.h"
#include "graph/print.h"
#include "graph/sizes.h"

namespace engine::graph {
namespace {

/// How the threads may share a map: the letters of the loops of an input.
Operand read_operand(const Graph& graph, const Array& input, const Array& y, bool by_column) {
  if (by_column) {
    const bool by_row = !input.shape.empty() && input.shape[0] == y.shape[0] && input.shape.size() == 2;
    const bool has_columns = !input.shape.empty() && input.shape.back() == y.shape.back();
    return reads(input.value, by_row ? kSamples : kWhole, has_columns ? 'n' : kWhole);
  }
  const bool same_rows = input.shape.size() == y.shape.size() && !y.shape.empty() && input.shape[0] == y.shape[0] &&
                         row_loop(graph, input) == row_loop(graph, y);
  return reads(input.value, same_rows ? row_loop(graph, y) : kWhole, kWhole);
}

/// Whether threads may share the columns of y: it is (b, n), and each input is (b, n), (b, 1), (n), or one number.
bool shares_columns(const Graph& graph, const std::vector<Array>& inputs, const Array& y) {
  const auto is_batch = [&](const Array& array) {
    const Value& value = graph.value(array.value);
    return value.kind == Value::Kind::kBatch && value.groups == 1 && array.shape.size() == 2 &&
           array.shape[1] == Extent{value.columns, 0};
  };
  return is_batch(y) && std::all_of(inputs.begin(), inputs.end(), [&](const Array& input) {
           if (is_single(input.shape)) return true;
           if (input.shape.size() == 1) return input.shape[0] == y.shape[1];
           return is_batch(input);
         });
}

/// Whether each element of one array has the place of that of the other.
bool lie_alike(const Graph& graph, const Array& a, const Array& b) {
  const Value &of_a = graph.value(a.value), &of_b = graph.value(b.value);
  return a.shape == b.shape && of_a.kind == of_b.kind && of_a.groups == of_b.groups && of_a.columns == of_b.columns &&
         of_a.shape == of_b.shape;
}

}  // namespace

std::string Map::attributes() const {
  std::string text;
  for (const MapInstruction& each : code.instructions) {
    text += text.empty() ? "" : " ";
    text += each.op == MapOp::kConstant ? short_number(static_cast<double>(each.number))
                                        : kMapOpNames[static_cast<size_t>(each.op)];
  }
  return text;
}

/// A slope that takes long is a map of its own, which `merge_maps` makes an output of this map: then it is computed
/// once, together with y.
void Map::differentiate(Differentiation& gradients) const {
  const Shape& shape = y().shape;
  const ValueId dy = gradients.gradient_of(y().value);
  if (dy == kNoValue) return;
  Graph& graph = gradients.graph();
  std::vector<Array> read = inputs;
  read.push_back({dy, shape});
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!gradients.wants(inputs[i].value)) continue;
    const int input = static_cast<int>(i);
    const MapCode by_input = slope(code, input);
    const Array dx = takes_long(by_input)
                         ? add_map(graph, MapOp::kMultiply, {dy, shape}, add_map(graph, inputs, shape, by_input), shape)
                         : add_map(graph, read, shape, derivative(code, input));
    gradients.contribute(inputs[i], sum_to(graph, dx, inputs[i].shape));
  }
}

int place_among(std::vector<Array>& inputs, const Array& input) {
  const auto known = std::find_if(inputs.begin(), inputs.end(), [&](const Array& other) {
    return other.value == input.value && other.shape == input.shape;
  });
  const auto place = known - inputs.begin();
  if (known == inputs.end()) inputs.push_back(input);
  return static_cast<int>(place);
}

Array add_map(Graph& graph, const std::vector<Array>& inputs, const Shape& shape, const MapCode& code) {
  const int same = identity_of(code);
  if (same >= 0 && inputs[static_cast<size_t>(same)].shape == shape) return inputs[static_cast<size_t>(same)];
  // Inputs that the code does not read any more are left out.
  MapCode own = code;
  std::vector<Array> read;
  std::vector<int> places(static_cast<size_t>(code.inputs), -1);
  for (const MapInstruction& each : code.instructions) {
    for (const int operand : {each.a, each.b, each.c}) {
      if (operand < 0 || operand >= code.inputs || places[static_cast<size_t>(operand)] >= 0) continue;
      places[static_cast<size_t>(operand)] = place_among(read, inputs[static_cast<size_t>(operand)]);
    }
  }
  for (Array& input : read) input = with_strides(graph, input);
  own.inputs = static_cast<int>(read.size());
  const int removed = code.inputs - own.inputs;
  for (MapInstruction& each : own.instructions) {
    for (int* const operand : {&each.a, &each.b, &each.c}) {
      if (*operand >= 0) {
        *operand = *operand < code.inputs ? places[static_cast<size_t>(*operand)] : *operand - removed;
      }
    }
  }
  const Array y = add_array(graph, shape);
  auto& map = graph.add<Map>();
  map.inputs = std::move(read);
  map.outputs = {y};
  map.code = std::move(own);
  map.results.assign(1, map.code.registers() - 1);
  map.find_loops(graph);
  return y;
}

void Map::find_loops(const Graph& graph) {
  by_column = shares_columns(graph, inputs, y());
  loops.clear();
  for (const Array& output : outputs) {
    loops.push_back(by_column ? writes(output.value, kSamples, 'n')
                              : writes(output.value, row_loop(graph, output), kWhole));
  }
  for (const Array& input : inputs) loops.push_back(read_operand(graph, input, y(), by_column));
  pair = {};
  for (const Array& input : inputs) {
    if (lie_alike(graph, input, outputs.back())) pair = {input.value, outputs.back().value};
  }
}

Array add_map(Graph& graph, MapOp op, const Array& a, const Array& b, const Shape& shape) {
  MapCode code;
  code.inputs = 2;
  code.add(op, 0, 1);
  return add_map(graph, {a, b}, shape, code);
}

namespace {

struct MapLayer final : ArrayLayer {
  MapCode code;

  void check() const override {
    for (const Shape& input : input_shapes) {
      require(input.size() <= shape.size(), "an input of a map has no more axes than the output");
      const size_t added = shape.size() - input.size();
      for (size_t i = 0; i < input.size(); ++i) {
        const bool fits = input[i] == shape[added + i] || input[i] == Extent{1, 0};
        require(fits, "an input of a map can be broadcast to the output");
      }
    }
  }
  /// Also if it asks for the place of a sample in its batch, or for the number of samples.
  bool joins_samples() const override {
    const auto asks = [this](const MapInstruction& each) {
      if (each.op == MapOp::kCoordinate) return shape[static_cast<size_t>(each.axis)].per_sample != 0;
      return each.op == MapOp::kSamples;
    };
    return ArrayLayer::joins_samples() || std::any_of(code.instructions.begin(), code.instructions.end(), asks);
  }
  Array build_array(Builder& builder, const std::vector<Array>& inputs) const override {
    return add_map(builder.graph(), inputs, shape, code);
  }
};

}  // namespace

std::shared_ptr<Layer> read_map(const Attributes& attributes) {
  auto layer = std::make_shared<MapLayer>();
  const auto names = attributes.texts("operations");
  const auto operands = attributes.integers("operands");
  const auto numbers = attributes.numbers("numbers");
  if (names.empty() || operands.size() != 3 * names.size() || numbers.size() != names.size()) {
    attributes.refuse("a map has at least one operation, with three operands and one number each:", "operations");
  }
  layer->read_shapes(attributes);
  layer->code.inputs = static_cast<int>(layer->input_shapes.size());
  for (size_t i = 0; i < names.size(); ++i) {
    MapInstruction each;
    each.op = static_cast<MapOp>(Attributes::place_of(names[i], kMapOpNames, kMapOps, "operation of a map"));
    int* const places[] = {&each.a, &each.b, &each.c};
    for (int k = 0; k < 3; ++k) {
      const int64_t operand = operands[3 * i + static_cast<size_t>(k)];
      const bool known = k < operand_count(each.op) ? operand >= 0 && operand < layer->code.registers() : operand == -1;
      if (!known) attributes.refuse("an operand of a map must be an earlier register:", "operands");
      *places[k] = static_cast<int>(operand);
    }
    if (each.op == MapOp::kCoordinate) {
      each.axis = static_cast<int>(numbers[i]);
      if (each.axis < 0 || each.axis >= static_cast<int>(layer->shape.size())) {
        attributes.refuse("a coordinate must be that of an axis of the output:", "numbers");
      }
    } else {
      each.number = numbers[i];
    }
    layer->code.instructions.push_back(each);
  }
  return layer;
}

}  // namespace engine::graph
