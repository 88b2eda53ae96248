#include "graph/operations/map.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <tuple>

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

using Key = std::tuple<int, int, int, int, int, uint32_t>;

/// Copies instructions of which the result is needed, each once: equal instructions share a register.
class Simplified {
 public:
  explicit Simplified(const MapCode& code) : code_(code), registers_(static_cast<size_t>(code.registers()), -1) {
    result_.inputs = code.inputs;
    for (int i = 0; i < code.inputs; ++i) registers_[static_cast<size_t>(i)] = i;
    needed_.assign(static_cast<size_t>(code.registers()), false);
  }

  MapCode run() {
    mark();
    for (int i = code_.inputs; i < code_.registers(); ++i) {
      if (needed_[static_cast<size_t>(i)]) registers_[static_cast<size_t>(i)] = copy(instruction(i));
    }
    const int last = registers_.back();
    if (last < result_.inputs) {
      result_.instructions.clear();
      result_.add(MapOp::kMultiply, last, result_.add_constant(1.0f));
      return result_;
    }
    // What comes after the result is another name of it.
    result_.instructions.resize(static_cast<size_t>(last - result_.inputs) + 1);
    return result_;
  }

 private:
  const MapInstruction& instruction(int of) const { return code_.instructions[static_cast<size_t>(of - code_.inputs)]; }

  void mark() {
    needed_.back() = true;
    for (int i = code_.registers() - 1; i >= code_.inputs; --i) {
      if (!needed_[static_cast<size_t>(i)]) continue;
      for (const int operand : {instruction(i).a, instruction(i).b, instruction(i).c}) {
        if (operand >= 0) needed_[static_cast<size_t>(operand)] = true;
      }
    }
  }

  bool is_constant(int of, float number) const {
    if (of < result_.inputs) return false;
    const MapInstruction& at = result_.instructions[static_cast<size_t>(of - result_.inputs)];
    return at.op == MapOp::kConstant && at.number == number;
  }

  int copy(const MapInstruction& from) {
    const auto place = [&](int of) { return of < 0 ? -1 : registers_[static_cast<size_t>(of)]; };
    MapInstruction to = from;
    to.a = place(from.a);
    to.b = place(from.b);
    to.c = place(from.c);
    // What derivatives are full of.
    if (to.op == MapOp::kMultiply && is_constant(to.b, 1.0f)) return to.a;
    if (to.op == MapOp::kMultiply && is_constant(to.a, 1.0f)) return to.b;
    if (to.op == MapOp::kAdd && is_constant(to.b, 0.0f)) return to.a;
    uint32_t bits;
    static_assert(sizeof bits == sizeof to.number);
    __builtin_memcpy(&bits, &to.number, sizeof bits);
    const Key key{static_cast<int>(to.op), to.a, to.b, to.c, to.axis, bits};
    const auto known = known_.find(key);
    if (known != known_.end()) return known->second;
    result_.instructions.push_back(to);
    return known_[key] = result_.registers() - 1;
  }

  const MapCode& code_;
  MapCode result_;
  std::vector<int> registers_;  // of the result, by register of the code
  std::vector<bool> needed_;
  std::map<Key, int> known_;
};

/// Appends the instructions that propagate a gradient from the result of a code to one of its inputs.
class Derivative {
 public:
  Derivative(const MapCode& code, int input) : input_(input) {
    // The gradient by the result is a further input, behind the others.
    code_.inputs = code.inputs + 1;
    const auto shifted = [&](int of) { return of >= code.inputs ? of + 1 : of; };
    for (MapInstruction each : code.instructions) {
      each.a = shifted(each.a);
      each.b = shifted(each.b);
      each.c = shifted(each.c);
      code_.instructions.push_back(each);
    }
    gradients_.assign(static_cast<size_t>(code_.registers()), -1);
    gradients_.back() = code.inputs;
    depends_.assign(static_cast<size_t>(code_.registers()), false);
    depends_[static_cast<size_t>(input)] = true;
    for (int i = code_.inputs; i < code_.registers(); ++i) {
      const MapInstruction& at = instruction(i);
      for (const int operand : {at.a, at.b, at.c}) {
        if (operand >= 0 && depends_[static_cast<size_t>(operand)]) depends_[static_cast<size_t>(i)] = true;
      }
    }
  }

  MapCode run() {
    for (int i = static_cast<int>(gradients_.size()) - 1; i >= code_.inputs; --i) {
      const int dy = gradients_[static_cast<size_t>(i)];
      if (dy >= 0 && depends_[static_cast<size_t>(i)]) propagate(instruction(i), i, dy);
    }
    int result = gradients_[static_cast<size_t>(input_)];
    if (result < 0) result = code_.add_constant(0.0f);
    if (result != code_.registers() - 1) code_.add(MapOp::kMultiply, result, code_.add_constant(1.0f));
    return Simplified(code_).run();
  }

 private:
  MapInstruction instruction(int of) const { return code_.instructions[static_cast<size_t>(of - code_.inputs)]; }
  int constant(float number) { return code_.add_constant(number); }
  int times(int a, int b) { return code_.add(MapOp::kMultiply, a, b); }
  int plus(int a, int b) { return code_.add(MapOp::kAdd, a, b); }
  int minus(int a, int b) { return code_.add(MapOp::kSubtract, a, b); }
  int over(int a, int b) { return code_.add(MapOp::kDivide, a, b); }
  int negative(int a) { return code_.add(MapOp::kNegate, a); }
  int square(int a) { return times(a, a); }
  int select(int condition, int a, int b) { return code_.add(MapOp::kSelect, condition, a, b); }
  bool wanted(int of) const { return of >= 0 && depends_[static_cast<size_t>(of)]; }

  void contribute(int to, int gradient) {
    int& sum = gradients_[static_cast<size_t>(to)];
    sum = sum < 0 ? gradient : plus(sum, gradient);
  }

  /// `y` is the register of the result of `at`, and `dy` that of the gradient by it.
  void propagate(const MapInstruction& at, int y, int dy) {
    const int a = at.a, b = at.b;
    switch (at.op) {
      case MapOp::kConstant:
      case MapOp::kSamples:
      case MapOp::kCoordinate:
      case MapOp::kSign:
      case MapOp::kFloor:
      case MapOp::kRound:
      case MapOp::kEqual:
      case MapOp::kLess:
      case MapOp::kLessEqual:
        return;
      case MapOp::kNegate:
        return contribute(a, negative(dy));
      case MapOp::kAbs:
        return contribute(a, times(dy, code_.add(MapOp::kSign, a)));
      case MapOp::kExp:
        return contribute(a, times(dy, y));
      case MapOp::kExpm1:
        return contribute(a, times(dy, plus(y, constant(1.0f))));
      case MapOp::kLog:
        return contribute(a, over(dy, a));
      case MapOp::kLog1p:
        return contribute(a, over(dy, plus(a, constant(1.0f))));
      case MapOp::kSqrt:
        return contribute(a, over(times(dy, constant(0.5f)), y));
      case MapOp::kSin:
        return contribute(a, times(dy, code_.add(MapOp::kCos, a)));
      case MapOp::kCos:
        return contribute(a, negative(times(dy, code_.add(MapOp::kSin, a))));
      case MapOp::kTanh:
        return contribute(a, times(dy, minus(constant(1.0f), square(y))));
      case MapOp::kSigmoid:
        return contribute(a, times(dy, times(y, minus(constant(1.0f), y))));
      case MapOp::kSoftplus:
        return contribute(a, times(dy, code_.add(MapOp::kSigmoid, a)));
      case MapOp::kErf:
        return contribute(a, times(dy, times(constant(1.12837917f), code_.add(MapOp::kExp, negative(square(a))))));
      case MapOp::kErfinv:
        return contribute(a, times(dy, times(constant(0.886226925f), code_.add(MapOp::kExp, square(y)))));
      case MapOp::kAdd:
        if (wanted(a)) contribute(a, dy);
        if (wanted(b)) contribute(b, dy);
        return;
      case MapOp::kSubtract:
        if (wanted(a)) contribute(a, dy);
        if (wanted(b)) contribute(b, negative(dy));
        return;
      case MapOp::kMultiply:
        if (wanted(a)) contribute(a, times(dy, b));
        if (wanted(b)) contribute(b, times(dy, a));
        return;
      case MapOp::kDivide:
        if (wanted(a)) contribute(a, over(dy, b));
        if (wanted(b)) contribute(b, negative(over(times(dy, y), b)));
        return;
      case MapOp::kPower:
        return propagate_power(a, b, y, dy);
      case MapOp::kRemainder:
        if (wanted(a)) contribute(a, dy);
        if (wanted(b)) contribute(b, negative(times(dy, code_.add(MapOp::kFloor, over(a, b)))));
        return;
      case MapOp::kMinimum:
      case MapOp::kMaximum:
        return propagate_extreme(a, b, y, dy);
      case MapOp::kAtan2: {
        const int scaled = over(dy, plus(square(a), square(b)));
        if (wanted(a)) contribute(a, times(scaled, b));
        if (wanted(b)) contribute(b, negative(times(scaled, a)));
        return;
      }
      case MapOp::kSelect: {
        const int zero = constant(0.0f);
        if (wanted(b)) contribute(b, select(a, dy, zero));
        if (wanted(at.c)) contribute(at.c, select(a, zero, dy));
        return;
      }
    }
  }

  /// b a^(b - 1) by a, and a^b log(a) by b. Where b is 0 the first is 0, and where a is 0 the second, as in JAX.
  void propagate_power(int a, int b, int y, int dy) {
    const int zero = constant(0.0f);
    if (wanted(a)) {
      const int slope = times(b, code_.add(MapOp::kPower, a, minus(b, constant(1.0f))));
      contribute(a, times(dy, select(b, slope, zero)));
    }
    if (wanted(b)) {
      const int positive = code_.add(MapOp::kLess, zero, a);
      const int safe = select(positive, a, constant(1.0f));
      contribute(b, times(dy, select(a, times(y, code_.add(MapOp::kLog, safe)), zero)));
    }
  }

  /// All of the gradient goes to the one that was chosen, and half of it to each of two that are equal.
  void propagate_extreme(int a, int b, int y, int dy) {
    const int half = times(dy, constant(0.5f)), zero = constant(0.0f);
    const int share = select(code_.add(MapOp::kEqual, a, b), half, dy);
    if (wanted(a)) contribute(a, select(code_.add(MapOp::kEqual, a, y), share, zero));
    if (wanted(b)) contribute(b, select(code_.add(MapOp::kEqual, b, y), share, zero));
  }

  MapCode code_;
  int input_;
  std::vector<int> gradients_;  // by register of the original code: the register of the gradient by it, or -1
  std::vector<bool> depends_;   // whether it depends on the input
};

}  // namespace

/// The input that a code passes on as it is; -1 for none.
int identity_of(const MapCode& code) {
  const auto& all = code.instructions;
  const bool times_one = all.size() == 2 && all[0].op == MapOp::kConstant && all[0].number == 1.0f &&
                         all[1].op == MapOp::kMultiply && all[1].b == code.inputs;
  return times_one && all[1].a < code.inputs ? all[1].a : -1;
}

MapCode derivative(const MapCode& code, int input) { return Derivative(code, input).run(); }

std::string Map::attributes() const {
  std::string text;
  for (const MapInstruction& each : code.instructions) {
    text += text.empty() ? "" : " ";
    text += each.op == MapOp::kConstant ? short_number(static_cast<double>(each.number))
                                        : kMapOpNames[static_cast<size_t>(each.op)];
  }
  return text;
}

void Map::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y.value);
  if (dy == kNoValue) return;
  std::vector<Array> read = inputs;
  read.push_back({dy, y.shape});
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!gradients.wants(inputs[i].value)) continue;
    const Array dx = add_map(gradients.graph(), read, y.shape, derivative(code, static_cast<int>(i)));
    gradients.contribute(inputs[i], sum_to(gradients.graph(), dx, inputs[i].shape));
  }
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
      places[static_cast<size_t>(operand)] = static_cast<int>(read.size());
      read.push_back(strided(graph, inputs[static_cast<size_t>(operand)]));
    }
  }
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
  map.y = y;
  map.code = std::move(own);
  map.find_loops(graph);
  return y;
}

void Map::find_loops(const Graph& graph) {
  by_column = shares_columns(graph, inputs, y);
  loops.clear();
  loops.push_back(by_column ? writes(y.value, kSamples, 'n') : writes(y.value, row_loop(graph, y), kWhole));
  for (const Array& input : inputs) loops.push_back(read_operand(graph, input, y, by_column));
}

Array add_map(Graph& graph, MapOp op, const Array& a, const Array& b, const Shape& shape) {
  MapCode code;
  code.inputs = 2;
  code.add(op, 0, 1);
  return add_map(graph, {a, b}, shape, code);
}

namespace {

/// A map may become a part of another one up to this size.
constexpr int kMostInputs = 16;
constexpr int kMostInstructions = 96;

/// The code of `second`, whose input number `place` is computed by `first`. Its inputs are those of the first one, then
/// the others of the second.
void fuse(Graph& graph, const Map& first, Map& second, ValueId between) {
  MapCode code;
  std::vector<Array> inputs = first.inputs;
  std::vector<int> registers;  // by register of the second code
  for (const Array& input : second.inputs) {
    registers.push_back(input.value == between ? -1 : static_cast<int>(inputs.size()));
    if (input.value != between) inputs.push_back(input);
  }
  code.inputs = static_cast<int>(inputs.size());
  const int moved = code.inputs - first.code.inputs;
  const auto place_in_first = [&](int of) { return of < first.code.inputs ? of : of + moved; };
  for (MapInstruction each : first.code.instructions) {
    each.a = place_in_first(each.a);
    each.b = place_in_first(each.b);
    each.c = place_in_first(each.c);
    code.instructions.push_back(each);
  }
  const int result = code.registers() - 1;
  for (int& at : registers) at = at < 0 ? result : at;
  const auto place = [&](int of) {
    return of < 0                    ? -1
           : of < second.code.inputs ? registers[static_cast<size_t>(of)]
                                     : of - second.code.inputs + result + 1;
  };
  for (MapInstruction each : second.code.instructions) {
    each.a = place(each.a);
    each.b = place(each.b);
    each.c = place(each.c);
    code.instructions.push_back(each);
  }
  // One input for each array, also if both maps read it.
  std::vector<Array> once;
  std::vector<int> places;
  for (const Array& input : inputs) {
    const auto known = std::find_if(once.begin(), once.end(), [&](const Array& other) {
      return other.value == input.value && other.shape == input.shape;
    });
    places.push_back(static_cast<int>(known - once.begin()));
    if (known == once.end()) once.push_back(input);
  }
  const int removed = code.inputs - static_cast<int>(once.size());
  const auto renumbered = [&](int of) {
    return of < 0 ? -1 : of < code.inputs ? places[static_cast<size_t>(of)] : of - removed;
  };
  for (MapInstruction& each : code.instructions) {
    each.a = renumbered(each.a);
    each.b = renumbered(each.b);
    each.c = renumbered(each.c);
  }
  code.inputs = static_cast<int>(once.size());
  second.inputs = once;
  second.code = Simplified(code).run();
  second.find_loops(graph);
}

/// Returns whether any maps have been fused.
bool fuse_maps_once(Graph& graph) {
  const Uses uses(graph);
  const auto& operations = graph.operations();
  std::vector<bool> fused(operations.size());
  for (size_t i = 0; i < operations.size(); ++i) {
    auto* const second = dynamic_cast<Map*>(operations[i].get());
    if (!second) continue;
    for (size_t place = 0; place < second->inputs.size();) {
      const ValueId between = second->inputs[place].value;
      const Shape shape = second->inputs[place].shape;
      const int producer = uses.producer(between);
      auto* const first = producer < 0 ? nullptr : dynamic_cast<Map*>(operations[static_cast<size_t>(producer)].get());
      // The same shape without broadcasting, so that each element is computed once.
      const auto reads_of_second = std::count_if(second->inputs.begin(), second->inputs.end(), [&](const Array& each) {
        return each.value == between && each.shape == shape;
      });
      const bool fits = first && first->y.shape == second->y.shape && shape == first->y.shape &&
                        uses.reader_count(between) == reads_of_second && !graph.is_output(between) &&
                        first->inputs.size() + second->inputs.size() - 1 <= kMostInputs &&
                        first->code.instructions.size() + second->code.instructions.size() <= kMostInstructions;
      if (!fits) {
        ++place;
        continue;
      }
      fuse(graph, *first, *second, between);
      fused[static_cast<size_t>(producer)] = true;
      place = 0;
    }
  }
  graph.erase(fused);
  return std::find(fused.begin(), fused.end(), true) != fused.end();
}

}  // namespace

void fuse_maps(Graph& graph) {
  while (fuse_maps_once(graph)) {
  }
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
