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
    return value.kind == Value::Kind::kBatch && array.shape.size() == 2 && array.shape[0] == y.shape[0] &&
           array.shape[1] == Extent{value.columns, 0} && has_sample_axis(array.shape, graph.batch);
  };
  return is_batch(y) && std::all_of(inputs.begin(), inputs.end(), [&](const Array& input) {
           if (is_single(input.shape)) return true;
           if (input.shape.size() == 1) return input.shape[0] == y.shape[1];
           return is_batch(input);
         });
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
  struct Known {  // the gradient by an input that was computed before
    size_t input;
    MapCode slope;
    Array gradient;
  };
  std::vector<Known> known;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!gradients.wants(inputs[i].value)) continue;
    const int input = static_cast<int>(i);
    const MapCode by_input = slope(code, input);
    if (is_zero(by_input)) continue;  // such as that of a comparison
    // All terms of a sum have one gradient.
    const auto same = std::find_if(known.begin(), known.end(), [&](const Known& each) {
      return each.slope == by_input && lie_alike(graph, inputs[each.input], inputs[i]);
    });
    if (same != known.end()) {
      gradients.contribute(inputs[i], same->gradient);
      continue;
    }
    const ValueId like = inputs[i].shape == shape ? inputs[i].value : kNoValue;
    const Array dx = takes_long(by_input) ? add_map(graph, MapOp::kMultiply, {dy, shape},
                                                    add_map(graph, inputs, shape, by_input), shape, like)
                                          : add_map(graph, read, shape, derivative(code, input), like);
    known.push_back({i, by_input, sum_to(graph, dx, inputs[i].shape)});
    gradients.contribute(inputs[i], known.back().gradient);
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

Array add_map(Graph& graph, const std::vector<Array>& inputs, const Shape& shape, const MapCode& code, ValueId like) {
  const int same = identity_of(code);
  if (same >= 0 && inputs[static_cast<size_t>(same)].shape == shape) return inputs[static_cast<size_t>(same)];
  const Array y = like == kNoValue ? add_array(graph, shape) : Array{graph.add_like(like), shape};
  add_map_to(graph, y, inputs, code);
  return y;
}

void add_map_to(Graph& graph, const Array& y, const std::vector<Array>& inputs, const MapCode& code) {
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
  auto& map = graph.add<Map>();
  map.inputs = std::move(read);
  map.outputs = {y};
  map.code = std::move(own);
  map.results.assign(1, map.code.registers() - 1);
  map.find_loops(graph);
}

void Map::find_loops(const Graph& graph) {
  by_column = windows.empty() && shares_columns(graph, inputs, y());
  loops.clear();
  for (const Array& output : outputs) {
    loops.push_back(by_column ? writes(output.value, kSamples, 'n')
                              : writes(output.value, row_loop(graph, output), kWhole));
  }
  pair = {};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Array& input = inputs[i];
    if (!reads_whole(i)) {
      loops.push_back(reads(input.value, windows[i].rows, kWhole));
      continue;
    }
    loops.push_back(read_operand(graph, input, y(), by_column));
    if (lie_alike(graph, input, outputs.back())) pair = {input.value, outputs.back().value};
  }
  // Other elements of an input than those that a thread writes must stay until all threads have read them.
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!reads_whole(i) && inputs[i].value == pair.input) pair = {};
  }
}

Array add_map(Graph& graph, MapOp op, const Array& a, const Array& b, const Shape& shape, ValueId like) {
  MapCode code;
  code.inputs = 2;
  code.add(op, 0, 1);
  return add_map(graph, {a, b}, shape, code, like);
}

/// One map for each sum of two, which `fuse_maps` makes one: before that, a product may add one of the terms itself.
Array add_terms(Graph& graph, const std::vector<Array>& terms) {
  Array sum = terms.front();
  for (size_t i = 1; i < terms.size(); ++i) {
    sum = add_map(graph, MapOp::kAdd, sum, terms[i], sum.shape, terms.front().value);
  }
  return sum;
}

MapCode code_of(const Rescaling& rescaling) {
  MapCode code;
  code.inputs = 1;
  const int scale = code.add_constant(rescaling.scale), offset = code.add_constant(rescaling.offset);
  code.add(MapOp::kMultiplyAdd, 0, scale, offset);
  return code;
}

std::optional<Rescaling> rescaling_of(const Graph& graph, const Map& map) {
  const auto& all = map.code.instructions;
  const bool fits = map.inputs.size() == 1 && map.outputs.size() == 1 && lie_alike(graph, map.inputs[0], map.y()) &&
                    all.size() == 3 && all[2].op == MapOp::kMultiplyAdd && all[2].a == 0;
  if (!fits) return std::nullopt;
  const auto number = [&](int reg) {
    return reg > 0 ? all[static_cast<size_t>(reg - 1)] : MapInstruction{MapOp::kAdd};
  };
  const MapInstruction scale = number(all[2].b), offset = number(all[2].c);
  if (scale.op != MapOp::kConstant || offset.op != MapOp::kConstant) return std::nullopt;
  return Rescaling{scale.number, offset.number};
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
