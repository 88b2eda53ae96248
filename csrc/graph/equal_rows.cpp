// The rewrite `compute_equal_rows_once`: arrays whose rows are all equal, as after a broadcast, lose their first axis.
#include <algorithm>
#include <string>

#include "graph/operations/arrangement.h"
#include "graph/operations/contraction.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
#include "graph/rewrites.h"

namespace engine::graph {
namespace {

Shape without_first(const Shape& shape) { return {shape.begin() + 1, shape.end()}; }

bool has(const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; }

/// Whether a slice has all rows of the array that it is taken from, or placed in, in their order.
template <class Op>
bool keeps_rows(const Op& op) {
  return op.x.shape.size() > 1 && op.selection.begin[0] == Extent{} && op.selection.step[0] == 1 &&
         op.x.shape[0] == op.y.shape[0];
}

/// The letters of a contraction, some of whose arrays have lost their first axis.
struct Letters {
  std::string a, b, y;

  /// Whether each letter of y is one of an operand, and each that is summed over is one of both.
  bool are_valid() const {
    const auto is_found = [](const std::string& letters, const std::string& one, const std::string& other) {
      return std::all_of(letters.begin(), letters.end(), [&](char each) { return has(one, each) || has(other, each); });
    };
    return !a.empty() && !b.empty() && is_found(y, a, b) && is_found(a, b, y) && is_found(b, a, y);
  }
};

class EqualRows {
 public:
  explicit EqualRows(Graph& graph) : graph_(graph), equal_(static_cast<size_t>(graph.value_count())) {}

  /// Finds the values to narrow. One that an operation must read as it is stays, and what that needs as it is as well.
  bool find() {
    for (const auto& operation : graph_.operations()) {
      const Array* const y = output_of(*operation);
      if (y && may_narrow(*y)) equal_[static_cast<size_t>(y->value)] = makes_equal_rows(*operation);
    }
    bool changed = true;
    while (changed) {
      changed = false;
      for (const auto& operation : graph_.operations()) {
        const Array* const y = output_of(*operation);
        if (y && is_narrowed(y->value) && !makes_equal_rows(*operation)) changed = keep(y->value);
        for (const Operand& operand : operation->operands()) {
          if (operand.value == kNoValue || operand.use == Use::kWrite || !is_narrowed(operand.value)) continue;
          if (!may_read(*operation, operand.value)) changed = keep(operand.value);
        }
      }
    }
    return std::find(equal_.begin(), equal_.end(), true) != equal_.end();
  }

  void narrow() {
    once_.assign(equal_.size(), kNoValue);
    for (size_t v = 0; v < equal_.size(); ++v) {
      if (equal_[v]) once_[v] = add_array(graph_, without_first(graph_.value(static_cast<ValueId>(v)).shape)).value;
    }
    for (const auto& operation : graph_.operations()) {
      if (auto* const map = dynamic_cast<Map*>(operation.get())) narrow_map(*map);
      if (auto* const copy = dynamic_cast<Copy*>(operation.get()); copy && has_equal_rows(copy->x)) {
        narrow_both(*copy);
        copy->rows = shared_rows(*copy);
      }
      if (auto* const slice = dynamic_cast<Slice*>(operation.get())) narrow_slice(*slice);
      if (auto* const placed = dynamic_cast<PlaceSlice*>(operation.get())) narrow_slice(*placed);
      if (auto* const reduce = dynamic_cast<Reduce*>(operation.get()); reduce && has_equal_rows(reduce->x)) {
        narrow_both(*reduce);
        for (int& axis : reduce->axes) --axis;
        reduce->find_loops(graph_);
      }
      if (auto* const product = dynamic_cast<Contraction*>(operation.get())) {
        const Letters letters = letters_of(*product);
        product->a = narrowed(product->a);
        product->b = narrowed(product->b);
        product->y = narrowed(product->y);
        product->a_letters = letters.a;
        product->b_letters = letters.b;
        product->y_letters = letters.y;
        product->find_loops(graph_);
      }
    }
  }

 private:
  bool is_narrowed(ValueId value) const { return equal_[static_cast<size_t>(value)]; }

  bool keep(ValueId value) {
    equal_[static_cast<size_t>(value)] = false;
    return true;
  }

  /// Whether an array is a value to narrow, under a shape with the first axis of that.
  bool has_equal_rows(const Array& array) const {
    return is_narrowed(array.value) && !array.shape.empty() &&
           array.shape[0] == graph_.value(array.value).shape.front();
  }

  Array narrowed(const Array& array) const {
    if (!has_equal_rows(array)) return array;
    return {once_[static_cast<size_t>(array.value)], without_first(array.shape)};
  }

  /// The only output of an operation that may be narrowed; null for other operations.
  static const Array* output_of(const Operation& operation) {
    if (const auto* map = dynamic_cast<const Map*>(&operation)) return map->outputs.size() == 1 ? &map->y() : nullptr;
    if (const auto* copy = dynamic_cast<const Copy*>(&operation)) return copy->read.empty() ? &copy->y : nullptr;
    if (const auto* slice = dynamic_cast<const Slice*>(&operation)) return &slice->y;
    if (const auto* placed = dynamic_cast<const PlaceSlice*>(&operation)) return &placed->y;
    if (const auto* reduce = dynamic_cast<const Reduce*>(&operation)) return &reduce->y;
    if (const auto* product = dynamic_cast<const Contraction*>(&operation)) return &product->y;
    return nullptr;
  }

  bool may_narrow(const Array& y) const {
    const Value& value = graph_.value(y.value);
    return value.kind == Value::Kind::kArray && y.shape == value.shape && !y.shape.empty() &&
           y.shape[0].per_sample == 0 && y.shape[0].fixed > 1 && !graph_.is_output(y.value);
  }

  bool makes_equal_rows(const Operation& operation) const {
    if (const auto* const map = dynamic_cast<const Map*>(&operation)) {
      const Shape& shape = map->y().shape;
      const auto& code = map->code.instructions;
      return map->outputs.size() == 1 && map->windows.empty() &&
             std::none_of(code.begin(), code.end(),
                          [](const MapInstruction& each) { return each.op == MapOp::kCoordinate && each.axis == 0; }) &&
             std::all_of(map->inputs.begin(), map->inputs.end(), [&](const Array& input) {
               return input.shape.size() < shape.size() || input.shape[0] == Extent{1, 0} || has_equal_rows(input);
             });
    }
    if (const auto* const copy = dynamic_cast<const Copy*>(&operation)) {
      return copy->read.empty() && copy->x.shape == copy->y.shape && has_equal_rows(copy->x);
    }
    if (const auto* const slice = dynamic_cast<const Slice*>(&operation)) {
      return keeps_rows(*slice) && has_equal_rows(slice->x);
    }
    if (const auto* const placed = dynamic_cast<const PlaceSlice*>(&operation)) {
      return keeps_rows(*placed) && has_equal_rows(placed->x);
    }
    if (const auto* const reduce = dynamic_cast<const Reduce*>(&operation)) {
      return !reduce->reduces(0) && has_equal_rows(reduce->x);
    }
    const auto* const product = dynamic_cast<const Contraction*>(&operation);
    if (!product || product->y_letters.empty()) return false;
    const char row = product->y_letters[0];
    const auto is_equal = [&](const Array& array, const std::string& letters) {
      return !has(letters, row) || (letters[0] == row && has_equal_rows(array));
    };
    return is_equal(product->a, product->a_letters) && is_equal(product->b, product->b_letters);
  }

  /// Whether an operation may read `value`, which is narrowed.
  bool may_read(const Operation& operation, ValueId value) const {
    if (const auto* const map = dynamic_cast<const Map*>(&operation)) {  // which broadcasts by itself
      return map->windows.empty() && std::all_of(map->inputs.begin(), map->inputs.end(), [&](const Array& input) {
               return input.value != value || has_equal_rows(input);
             });
    }
    if (const auto* const product = dynamic_cast<const Contraction*>(&operation)) {
      const bool views = (product->a.value != value || has_equal_rows(product->a)) &&
                         (product->b.value != value || has_equal_rows(product->b));
      return views && letters_of(*product).are_valid();
    }
    const Array* const y = output_of(operation);
    return y && is_narrowed(y->value);
  }

  Letters letters_of(const Contraction& product) const {
    const auto narrowed_letters = [&](const Array& array, const std::string& letters) {
      return has_equal_rows(array) ? letters.substr(1) : letters;
    };
    return {narrowed_letters(product.a, product.a_letters), narrowed_letters(product.b, product.b_letters),
            narrowed_letters(product.y, product.y_letters)};
  }

  void narrow_map(Map& map) const {
    const bool narrows = map.outputs.size() == 1 && has_equal_rows(map.y());
    const size_t axes = map.y().shape.size();
    std::vector<Array> inputs;
    std::vector<int> places;  // of the present inputs among the new ones, which are fewer where two become equal
    bool changed = narrows;
    for (const Array& input : map.inputs) {
      const bool loses_one = narrows && !has_equal_rows(input) && input.shape.size() == axes;
      changed = changed || has_equal_rows(input);
      places.push_back(
          place_among(inputs, loses_one ? Array{input.value, without_first(input.shape)} : narrowed(input)));
    }
    if (!changed) return;
    const int before = map.code.inputs, removed = before - static_cast<int>(inputs.size());
    const auto move = [&](int& of) {
      if (of >= 0) of = of < before ? places[static_cast<size_t>(of)] : of - removed;
    };
    for (MapInstruction& each : map.code.instructions) {
      for (int* const operand : {&each.a, &each.b, &each.c}) move(*operand);
      if (narrows && each.op == MapOp::kCoordinate) --each.axis;
    }
    for (int& result : map.results) move(result);
    map.code.inputs = static_cast<int>(inputs.size());
    map.inputs = std::move(inputs);
    if (narrows) map.outputs = {narrowed(map.y())};
    map.find_loops(graph_);
  }

  template <class Op>
  void narrow_both(Op& op) const {
    op.x = narrowed(op.x);
    op.y = narrowed(op.y);
  }

  template <class Op>
  void narrow_slice(Op& op) const {
    if (!has_equal_rows(op.x)) return;
    narrow_both(op);
    op.selection.begin.erase(op.selection.begin.begin());
    op.selection.step.erase(op.selection.step.begin());
    const bool by_row =
        op.selection.begin[0] == Extent{} && op.selection.step[0] == 1 && op.x.shape[0] == op.y.shape[0];
    op.rows = by_row ? shared_rows(op) : kWhole;
  }

  template <class Op>
  Loop shared_rows(const Op& op) const {
    return row_loop(graph_, op.x) == row_loop(graph_, op.y) ? row_loop(graph_, op.y) : kWhole;
  }

  Graph& graph_;
  std::vector<bool> equal_;    // by value: whether it is narrowed
  std::vector<ValueId> once_;  // by value: what holds its row
};

}  // namespace

void compute_equal_rows_once(Graph& graph) {
  for (;;) {  // as rows that have lost an axis may have equal rows themselves
    EqualRows rows(graph);
    if (!rows.find()) return;
    rows.narrow();
  }
}

}  // namespace engine::graph
