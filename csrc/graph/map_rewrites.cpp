// Rewrites of maps: several become one, so that less is stored and nothing is computed twice.
#include <algorithm>
#include <unordered_map>

#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
#include "graph/rewrites.h"

namespace engine::graph {
namespace {

/// A map may become a part of another one up to this size.
constexpr int kMaxInputs = 16;
constexpr int kMaxInstructions = 96;

/// The codes of two maps as one.
class Joined {
 public:
  std::vector<Array> inputs;
  MapCode code;
  std::vector<int> of_first, of_second;  // the registers of the code that hold those of each map

  Joined() = default;
  explicit Joined(const Map& map) : Joined(Map(), map, kNoValue) {}
  /// `between` is the output of the first map that the second one reads; kNoValue for none.
  Joined(const Map& first, const Map& second, ValueId between) {
    for (const Array& input : first.inputs) of_first.push_back(place_among(inputs, input));
    for (const Array& input : second.inputs) {
      of_second.push_back(input.value == between ? -1 : place_among(inputs, input));
    }
    code.inputs = static_cast<int>(inputs.size());
    append(first, of_first);
    for (int& at : of_second) at = at < 0 ? of_first[static_cast<size_t>(first.results.front())] : at;
    append(second, of_second);
  }

  bool is_small() const {
    return code.inputs <= kMaxInputs && static_cast<int>(code.instructions.size()) <= kMaxInstructions;
  }

  /// Makes `map` compute `results`, which are registers of the code.
  void become(Map& map, const std::vector<int>& results, const Graph& graph) const {
    const bool one = results.size() == 1 && results.front() == code.registers() - 1;
    const Simplified simplified(code, results);
    map.inputs = inputs;
    map.code = one ? simplified.ending_with_result() : simplified.code();
    map.results.clear();
    for (const int result : results) {
      map.results.push_back(one ? map.code.registers() - 1 : simplified.place_of(result));
    }
    leave_out_unread(map);
    map.find_loops(graph);
  }

 private:
  /// Removes the inputs of a map that its code does not read.
  static void leave_out_unread(Map& map) {
    std::vector<int> places(static_cast<size_t>(map.code.registers()), -1);
    for (const MapInstruction& each : map.code.instructions) {
      for (const int operand : {each.a, each.b, each.c}) {
        if (operand >= 0) places[static_cast<size_t>(operand)] = 0;
      }
    }
    for (const int result : map.results) places[static_cast<size_t>(result)] = 0;
    std::vector<Array> read;
    for (size_t i = 0; i < map.inputs.size(); ++i) {
      if (places[i] < 0) continue;
      places[i] = static_cast<int>(read.size());
      read.push_back(map.inputs[i]);
    }
    const int removed = map.code.inputs - static_cast<int>(read.size());
    if (removed == 0) return;
    for (int reg = map.code.inputs; reg < map.code.registers(); ++reg) places[static_cast<size_t>(reg)] = reg - removed;
    for (MapInstruction& each : map.code.instructions) {
      for (int* const operand : {&each.a, &each.b, &each.c}) {
        if (*operand >= 0) *operand = places[static_cast<size_t>(*operand)];
      }
    }
    for (int& result : map.results) result = places[static_cast<size_t>(result)];
    map.inputs = std::move(read);
    map.code.inputs -= removed;
  }

  void append(const Map& map, std::vector<int>& registers) {
    for (MapInstruction each : map.code.instructions) {
      for (int* const operand : {&each.a, &each.b, &each.c}) {
        if (*operand >= 0) *operand = registers[static_cast<size_t>(*operand)];
      }
      code.instructions.push_back(each);
      registers.push_back(code.registers() - 1);
    }
  }
};

std::vector<int> places_of(const std::vector<int>& registers, const std::vector<int>& places) {
  std::vector<int> all;
  for (const int each : registers) all.push_back(places[static_cast<size_t>(each)]);
  return all;
}

const Map* producing_map(const Graph& graph, const Uses& uses, ValueId value) {
  const int producer = uses.producer(value);
  return producer < 0 ? nullptr : dynamic_cast<const Map*>(graph.operations()[static_cast<size_t>(producer)].get());
}

/// Lets maps read arrays before they are broadcast, as they broadcast their inputs themselves. Two inputs may then be
/// one array, which the map reads once. A value that is `kept` is read as it is: derivatives by it go through its
/// readers.
void read_before_broadcast(const Graph& graph, const std::vector<bool>& kept) {
  const Uses uses(graph);
  for (const auto& operation : graph.operations()) {
    auto* const map = dynamic_cast<Map*>(operation.get());
    if (!map) continue;
    bool changed = false;
    for (Array& input : map->inputs) {
      const Map* const first = producing_map(graph, uses, input.value);
      const int same = first && first->outputs.size() == 1 ? identity_of(first->code) : -1;
      if (same < 0 || first->y().shape != input.shape || kept[static_cast<size_t>(input.value)]) continue;
      input = first->inputs[static_cast<size_t>(same)];
      changed = true;
    }
    if (!changed) continue;
    const Joined own(*map);
    own.become(*map, places_of(map->results, own.of_second), graph);
  }
}

/// Whether a map computes one number from nothing. Every map that reads it may compute it for itself. A coordinate
/// would be another number there.
bool is_known_number(const Map& map) {
  return map.inputs.empty() && map.outputs.size() == 1 && is_single(map.y().shape) &&
         std::none_of(map.code.instructions.begin(), map.code.instructions.end(),
                      [](const MapInstruction& each) { return each.op == MapOp::kCoordinate; });
}

/// Returns whether any maps have been fused.
bool fuse_maps_once(Graph& graph, const std::vector<bool>& kept) {
  const Uses uses(graph);
  const auto& operations = graph.operations();
  std::vector<bool> fused(operations.size());
  bool changed = false;
  for (const auto& operation : operations) {
    auto* const second = dynamic_cast<Map*>(operation.get());
    if (!second) continue;
    for (size_t place = 0; place < second->inputs.size();) {
      const Array between = second->inputs[place];
      const Map* const first = producing_map(graph, uses, between.value);
      // The same shape without broadcasting, so that each element is computed once.
      const auto reads_of_second = std::count_if(second->inputs.begin(), second->inputs.end(), [&](const Array& each) {
        return each.value == between.value && each.shape == between.shape;
      });
      const bool is_alone = first && first->outputs.size() == 1 && first->y().shape == second->y().shape &&
                            between.shape == first->y().shape && uses.reader_count(between.value) == reads_of_second &&
                            !graph.is_output(between.value) && !kept[static_cast<size_t>(between.value)];
      const bool may_fuse = is_alone || (first && is_known_number(*first));
      const Joined joined = may_fuse ? Joined(*first, *second, between.value) : Joined();
      if (!may_fuse || !joined.is_small()) {
        ++place;
        continue;
      }
      joined.become(*second, places_of(second->results, joined.of_second), graph);
      if (is_alone) fused[static_cast<size_t>(uses.producer(between.value))] = true;
      changed = true;
      place = 0;
    }
  }
  graph.erase(fused);
  return changed;
}

int calculations(const MapCode& code) {
  return static_cast<int>(std::count_if(code.instructions.begin(), code.instructions.end(),
                                        [](const MapInstruction& each) { return operand_count(each.op) > 0; }));
}

/// By value: the number of the last operation before the current one that changes it; -1 for none.
class LastChanges {
 public:
  explicit LastChanges(const Graph& graph) : last_(static_cast<size_t>(graph.value_count()), -1) {}
  void pass(const Operation& operation, int number) {
    for (const Operand& operand : operation.operands()) {
      if (operand.use == Use::kUpdate && operand.value != kNoValue) last_[static_cast<size_t>(operand.value)] = number;
    }
  }
  int of(ValueId value) const { return last_[static_cast<size_t>(value)]; }

 private:
  std::vector<int> last_;
};

/// About how many cycles a core takes for a vector of numbers to store it and to read it again, once it has left the
/// caches near the core.
constexpr int kCyclesOfStoring = 10;
/// Cycles of a division or a square root of a vector; other arithmetic takes one.
constexpr int kCyclesOfDivision = 8;

/// Whether some results of a code take less time than to store them and to read them again.
bool is_quick(const MapCode& code) {
  int cycles = 0;
  for (const MapInstruction& each : code.instructions) {
    if (operand_count(each.op) == 0) continue;
    if (is_function(each.op) || each.op == MapOp::kRemainder) return false;
    cycles += each.op == MapOp::kDivide || each.op == MapOp::kSqrt ? kCyclesOfDivision : 1;
  }
  return cycles <= kCyclesOfStoring;
}

/// Whether a reduction alone reads the only output of a map, which is quick: then it need not be stored.
bool is_quickly_reduced(const Graph& graph, const Uses& uses, const Map& map) {
  const ValueId y = map.y().value;
  if (map.outputs.size() != 1 || uses.reader_count(y) != 1 || graph.is_output(y) || !is_quick(map.code)) return false;
  return dynamic_cast<const Reduce*>(graph.operations()[static_cast<size_t>(uses.last_reader(y))].get()) != nullptr;
}

/// Makes the outputs of `second` further outputs of `first`, if they read the same arrays and share calculations.
bool merge(const Graph& graph, const Uses& uses, Map& first, const Map& second) {
  if (!lie_alike(graph, first.y(), second.y())) return false;
  if (graph.mode() == Mode::kFunction &&
      (is_quickly_reduced(graph, uses, first) || is_quickly_reduced(graph, uses, second))) {
    return false;
  }
  const Joined joined(first, second, kNoValue);
  if (joined.inputs.size() > first.inputs.size() || !joined.is_small()) return false;
  std::vector<int> results = places_of(first.results, joined.of_first);
  const std::vector<int> others = places_of(second.results, joined.of_second);
  results.insert(results.end(), others.begin(), others.end());
  const int together = calculations(Simplified(joined.code, results).code());
  if (together == calculations(first.code) + calculations(second.code)) return false;
  first.outputs.insert(first.outputs.end(), second.outputs.begin(), second.outputs.end());
  joined.become(first, results, graph);
  return true;
}

}  // namespace

void fuse_maps(Graph& graph, const std::vector<ValueId>& kept) {
  std::vector<bool> is_kept(static_cast<size_t>(graph.value_count()));
  for (const ValueId value : kept) is_kept[static_cast<size_t>(value)] = true;
  do {
    read_before_broadcast(graph, is_kept);
  } while (fuse_maps_once(graph, is_kept));
}

void merge_maps(Graph& graph) {
  const auto& operations = graph.operations();
  std::vector<bool> merged(operations.size());
  std::unordered_map<ValueId, std::vector<int>> readers;  // the maps that read a value
  const Uses uses(graph);
  LastChanges changes(graph);
  for (size_t i = 0; i < operations.size(); ++i) {
    changes.pass(*operations[i], static_cast<int>(i));
    auto* const second = dynamic_cast<Map*>(operations[i].get());
    if (!second || second->inputs.empty()) continue;
    int changed = -1;
    for (const Array& input : second->inputs) changed = std::max(changed, changes.of(input.value));
    for (const int candidate : readers[second->inputs.front().value]) {
      auto& first = static_cast<Map&>(*operations[static_cast<size_t>(candidate)]);
      merged[i] = candidate > changed && merge(graph, uses, first, *second);
      if (merged[i]) break;
    }
    if (merged[i]) continue;
    for (const Array& input : second->inputs) {
      std::vector<int>& all = readers[input.value];
      if (all.empty() || all.back() != static_cast<int>(i)) all.push_back(static_cast<int>(i));
    }
  }
  graph.erase(merged);
}

namespace {

/// Computes maps anew where their outputs are read, if that is quicker.
class Recomputing {
 public:
  explicit Recomputing(Graph& graph) : graph_(graph), readers_(static_cast<size_t>(graph.value_count())) {
    std::vector<bool> changes(readers_.size());
    const auto& operations = graph.operations();
    for (size_t i = 0; i < operations.size(); ++i) {
      for (const Operand& operand : operations[i]->operands()) {
        if (operand.value == kNoValue || operand.use == Use::kWrite) continue;
        if (operand.use == Use::kUpdate) changes[static_cast<size_t>(operand.value)] = true;
        auto& all = readers(operand.value);
        if (all.empty() || all.back() != operations[i].get()) all.push_back(operations[i].get());
      }
    }
    changes_ = std::move(changes);
  }

  void run() {
    for (const auto& operation : graph_.operations()) {
      auto* const map = dynamic_cast<Map*>(operation.get());
      if (!map) continue;
      for (size_t k = map->outputs.size(); k-- > 0 && map->outputs.size() > 1;) take_output(*map, k);
      if (map->outputs.size() == 1 && !map->inputs.empty()) copy_to_readers(*map);
    }
  }

 private:
  std::vector<Operation*>& readers(ValueId value) { return readers_[static_cast<size_t>(value)]; }

  /// Lets maps compute an output of another map from its other outputs and its inputs.
  void take_output(Map& map, size_t k) {
    Map taken;
    taken.inputs = map.inputs;
    taken.outputs = {map.outputs[k]};
    for (size_t other = 0; other < map.outputs.size(); ++other) {
      if (other != k) taken.inputs.push_back(map.outputs[other]);
    }
    const int added = static_cast<int>(taken.inputs.size() - map.inputs.size());
    std::vector<int> places;  // by register of the map: the one of the taken code
    for (int reg = 0; reg < map.code.registers(); ++reg) places.push_back(reg < map.code.inputs ? reg : reg + added);
    for (size_t other = 0, input = map.inputs.size(); other < map.outputs.size(); ++other) {
      if (other != k) places[static_cast<size_t>(map.results[other])] = static_cast<int>(input++);
    }
    taken.code.inputs = static_cast<int>(taken.inputs.size());
    for (MapInstruction each : map.code.instructions) {
      for (int* const operand : {&each.a, &each.b, &each.c}) {
        if (*operand >= 0) *operand = places[static_cast<size_t>(*operand)];
      }
      taken.code.instructions.push_back(each);
    }
    const int result = places[static_cast<size_t>(map.results[k])];
    const Simplified simplified(taken.code, {result});
    taken.code = simplified.code();
    taken.results.assign(1, simplified.place_of(result));
    if (!is_quick(taken.code) || !give_to_readers(taken, false)) return;
    map.outputs.erase(map.outputs.begin() + static_cast<std::ptrdiff_t>(k));
    map.results.erase(map.results.begin() + static_cast<std::ptrdiff_t>(k));
    const Simplified rest(map.code, map.results);
    for (int& each : map.results) each = rest.place_of(each);
    map.code = rest.code();
    map.find_loops(graph_);
  }

  /// A map that reads no more than one large array may be a part of all that read it: they read that array.
  void copy_to_readers(Map& map) {
    const auto large = std::count_if(map.inputs.begin(), map.inputs.end(),
                                     [&](const Array& input) { return input.shape == map.y().shape; });
    if (large <= 1 && is_quick(map.code)) give_to_readers(map, true);
  }

  /// Makes a map a part of all maps that read its output. Returns false, and changes nothing, if there are none, or if
  /// anything else reads it; one reduction may, if `may_be_reduced`.
  bool give_to_readers(const Map& map, bool may_be_reduced) {
    const Array& y = map.y();
    if (graph_.is_output(y.value) || is_single(y.shape) || changes(map)) return false;
    std::vector<std::pair<Map*, Joined>> all;
    Operation* reduction = nullptr;
    for (Operation* const reader : readers(y.value)) {
      auto* const second = dynamic_cast<Map*>(reader);
      if (!second) {
        const auto* const reduce = dynamic_cast<const Reduce*>(reader);
        if (reduction || !may_be_reduced || !reduce || reduce->x.shape != y.shape) return false;
        reduction = reader;
        continue;
      }
      const bool reads_alike = std::all_of(second->inputs.begin(), second->inputs.end(), [&](const Array& input) {
        return input.value != y.value || input.shape == y.shape;
      });
      Joined joined(map, *second, y.value);
      if (second->y().shape != y.shape || !reads_alike || !joined.is_small()) return false;
      all.emplace_back(second, std::move(joined));
    }
    if (all.empty()) return false;
    for (auto& [second, joined] : all) {
      joined.become(*second, places_of(second->results, joined.of_second), graph_);
      for (const Array& input : second->inputs) {
        auto& known = readers(input.value);
        if (std::find(known.begin(), known.end(), second) == known.end()) known.push_back(second);
      }
    }
    readers(y.value).clear();
    if (reduction) readers(y.value).push_back(reduction);
    return true;
  }

  bool changes(const Map& map) const {
    return std::any_of(map.inputs.begin(), map.inputs.end(),
                       [&](const Array& input) { return changes_[static_cast<size_t>(input.value)]; });
  }

  Graph& graph_;
  std::vector<std::vector<Operation*>> readers_;  // by value
  std::vector<bool> changes_;                     // by value: whether an operation updates it
};

}  // namespace

void recompute_maps(Graph& graph) {
  Recomputing(graph).run();
  remove_unread(graph);
}

namespace {

/// The array that a map copies to `copy`, or `copy` itself.
Array original_of(const Graph& graph, const Uses& uses, const Array& copy) {
  const Map* const map = producing_map(graph, uses, copy.value);
  const int same = map && map->outputs.size() == 1 ? identity_of(map->code) : -1;
  if (same < 0 || map->y().shape != copy.shape) return copy;
  const Array& original = map->inputs[static_cast<size_t>(same)];
  return original.shape == copy.shape ? original : copy;
}

/// Whether an array has the shape `shape`, but for further first axes of length 1.
bool begins_with_ones(const Shape& longer, const Shape& shape) {
  if (shape.empty() || longer.size() < shape.size()) return false;
  const auto rest = longer.end() - static_cast<std::ptrdiff_t>(shape.size());
  return std::equal(rest, longer.end(), shape.begin()) &&
         std::all_of(longer.begin(), rest, [](const Extent& each) { return each == Extent{1, 0}; });
}

/// The window through which a map may read x in place of `input`, which a `Moved` operation makes of it. Of a slice, it
/// may read the only rows along the first axes.
template <class Moved>
bool read_window(const Operation* producer, Window::Kind kind, Array& input, Window& window) {
  const auto* const moved = dynamic_cast<const Moved*>(producer);
  if (!moved || is_single(moved->x.shape) || moved->selection.step.size() != moved->x.shape.size()) return false;
  const bool same = moved->y.shape == input.shape;
  if (!same && (kind != Window::Kind::kSlice || !begins_with_ones(moved->y.shape, input.shape))) return false;
  input = moved->x;
  window = {kind, moved->selection, same ? moved->rows : kWhole};
  return true;
}

}  // namespace

void read_windows(Graph& graph) {
  const Uses uses(graph);
  const auto& operations = graph.operations();
  LastChanges changes(graph);
  for (size_t i = 0; i < operations.size(); ++i) {
    changes.pass(*operations[i], static_cast<int>(i));
    auto* const map = dynamic_cast<Map*>(operations[i].get());
    if (!map) continue;
    std::vector<Window> windows(map->inputs.size());
    bool changed = false;
    for (size_t k = 0; k < windows.size(); ++k) {
      Array input = map->inputs[k];
      const int producer = uses.producer(input.value);
      if (producer < 0 || input.shape != map->y().shape) continue;
      const Operation* const moved = operations[static_cast<size_t>(producer)].get();
      if (!read_window<Slice>(moved, Window::Kind::kSlice, input, windows[k]) &&
          !read_window<PlaceSlice>(moved, Window::Kind::kPlaced, input, windows[k])) {
        continue;
      }
      const Array original = original_of(graph, uses, input);
      if (changes.of(original.value) <= uses.producer(input.value)) input = original;
      if (changes.of(input.value) > producer) {
        windows[k] = {};
        continue;
      }
      map->inputs[k] = input;
      changed = true;
    }
    if (!changed) continue;
    map->windows = std::move(windows);
    map->find_loops(graph);
  }
}

}  // namespace engine::graph
