// What layers use while they append their operations to a graph.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "graph/array.h"

namespace engine::graph {

/// Which rows of each sample count for later layers: those whose numbers are not all `value`, or those that the caller
/// names in `row_mask`.
struct Mask {
  ValueId source = kNoValue;  // (samples * rows, columns), or (samples, rows) numbers such as tokens
  float value = 0.0f;
  int64_t rows = 0;             // of each sample
  ValueId row_mask = kNoValue;  // (samples, rows): 1 or 0, once it has been computed
};

class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}

  Graph& graph() { return graph_; }
  const Value& value(ValueId id) const { return graph_.value(id); }

  /// Samples of every batch; 0: any number.
  int64_t batch() const { return graph_.batch; }
  bool is_training() const { return graph_.mode() == Mode::kTrain; }
  bool predicts() const { return graph::predicts(graph_.mode()); }
  /// Whether dropout and its like are in force.
  bool drops_out() const {
    if (infers) return false;
    return is_training() || graph_.mode() == Mode::kSample || (graph_.mode() == Mode::kFunction && trains);
  }
  /// The same for a layer that may be called with training=True whatever the batch is for.
  bool adds_noise() const { return drops_out() || trains; }

  template <class Op>
  Op& add() {
    return graph_.add<Op>();
  }
  /// Appends an operation after everything else of a batch: one that changes state which is no weight to learn. If
  /// layers to come read one of `averages`, it comes before these.
  template <class Op>
  void add_last(const Op& operation, std::vector<ValueId> averages = {}) {
    last_.push_back({std::move(averages), [this, operation] { graph_.add<Op>(operation); }});
  }
  /// Appends now what changes an average that the present layer reads; `again`: its gradient reads it once more.
  void change_before_reading(ValueId average, bool again);
  void finish() {
    for (const Change& change : last_) change.append();
  }

  /// `x` with `groups` rows for each sample; the numbers and their order stay.
  ValueId with_rows(ValueId x, int64_t groups);

  /// A value of any layout as a batch with `groups` rows for each sample.
  ValueId batch_of(ValueId value, int64_t groups);
  /// A value that operations on arrays can read: of a variable, its weights row by row.
  ValueId array_of(ValueId value);

  /// Says that a node is this variable, which has the shape `shape` as an array.
  void set_variable(ValueId variable, const Shape& shape, bool trainable) {
    named_variables_[variable] = {shape, trainable, kNoValue};
  }
  /// The variable that a value is; null for other values.
  const Variable* variable_at(ValueId value) const;
  bool is_trainable(ValueId variable) const { return named_variables_.at(variable).trainable; }
  /// The values that nodes after the present one read.
  std::function<std::vector<ValueId>()> read_later;

  /// By the value of a node that computes several derivatives: each of them.
  std::map<ValueId, std::vector<Array>> derivatives;

  /// Says that an operation has changed a variable, so that it must be read once more.
  void forget_array_of(ValueId variable) { named_variables_.at(variable).array = kNoValue; }

  /// The number of the node that is being built, what its argument `training` says, and its variables.
  int node = -1;
  bool trains = false, infers = false;
  const std::vector<int>* variables = nullptr;
  ValueId variable(size_t place) const {
    return place < variables->size() ? graph_.variable((*variables)[place]) : kNoValue;
  }

  void set_mask(ValueId output, const Mask& mask) { masks_[output] = std::make_shared<Mask>(mask); }
  /// Gives `output` the mask of `input`, unless it has one of its own.
  void pass_mask(ValueId input, ValueId output);
  /// The mask that holds for a value; null where there is none.
  Mask* mask_of(ValueId value) const;
  /// (samples, rows): 1 for each row that the mask keeps, else 0. kNoValue without a mask.
  ValueId row_mask(Mask* mask);

  /// A value for what a layer adds to the loss, one number for each of `groups` rows of a sample; kNoValue in
  /// predictions, which have no loss.
  ValueId add_activity_penalty(int64_t groups);

 private:
  Graph& graph_;
  struct Change {
    std::vector<ValueId> averages;
    std::function<void()> append;
  };
  std::vector<Change> last_;
  std::set<ValueId> read_again_;  // averages that gradients read
  std::map<ValueId, std::shared_ptr<Mask>> masks_;
  struct NamedVariable {
    Shape shape;
    bool trainable = true;
    ValueId array = kNoValue;  // its weights row by row, once an operation has read them
  };
  std::map<ValueId, NamedVariable> named_variables_;
};

}  // namespace engine::graph
