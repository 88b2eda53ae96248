// A graph: values, and the operations that compute them one after the other.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/operation.h"
#include "graph/training_spec.h"
#include "graph/value.h"
#include "graph/variables.h"

namespace engine::graph {

/// What a graph is for. kSample predicts with dropout in force, as Keras' `model(x, training=True)` does. kFunction
/// computes results from arguments, once for each call.
enum class Mode { kTrain, kEvaluate, kPredict, kSample, kFunction };

/// Whether the graph has neither losses nor metrics.
inline bool predicts(Mode mode) { return mode == Mode::kPredict || mode == Mode::kSample || mode == Mode::kFunction; }

/// One output of the model, and what belongs to it; kNoValue where the mode has no such value.
struct Output {
  ValueId y_pred = kNoValue;    // what the caller and the metrics see
  ValueId gradient = kNoValue;  // of the loss, by what the loss reads
  ValueId losses = kNoValue;    // one for each row of the output
  ValueId row_mask = kNoValue;  // (samples, groups): 1 for the rows that the mask keeps, else 0
  int64_t first_column = 0;     // of the output in a row of all predictions
};

class Graph {
 public:
  explicit Graph(Mode mode, const Variables& variables);

  Mode mode() const { return mode_; }
  const Variables& variables() const { return variables_; }

  const Value& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  Value& value(ValueId id) { return values_[static_cast<size_t>(id)]; }
  int value_count() const { return static_cast<int>(values_.size()); }
  ValueId add_value(const Value& value);
  /// A matrix with `groups` rows for each sample.
  ValueId add_batch(int64_t groups, int64_t columns);
  /// A matrix of the same shape as another one.
  ValueId add_like(ValueId other) { return add_value(value(other)); }
  ValueId add_per_row(int64_t groups);
  ValueId add_fixed(int64_t rows, int64_t columns);
  /// The weights of variable `v`; kNoValue for -1.
  ValueId variable(int v) const { return v; }  // the first values of a graph are its variables
  ValueId add_gradient(int v);
  ValueId add_constant(std::shared_ptr<const std::vector<float>> numbers);

  /// Appends an operation, and returns it.
  template <class Op, class... Args>
  Op& add(Args&&... args) {
    auto operation = std::make_unique<Op>(std::forward<Args>(args)...);
    Op& added = *operation;
    operations_.push_back(std::move(operation));
    return added;
  }
  const std::vector<std::unique_ptr<Operation>>& operations() const { return operations_; }
  /// Removes the operations whose flag is set.
  void erase(const std::vector<bool>& flags);

  /// Whether a value is an output of the model, or one of `kept`.
  bool is_output(ValueId value) const;

  // What the caller may ask about the graph.
  std::vector<Output> outputs;
  std::vector<ValueId> kept;                // that operations to come read, so that no rewrite may remove them
  std::vector<ValueId> activity_penalties;  // per-row values: penalties on what passes through layers
  /// Variables whose gradients are stored: ascending in a training, in the order of their steps in a function. The
  /// others are stepped where their gradient arises.
  std::vector<int> learning;
  /// The gradient of each of them.
  std::vector<ValueId> gradients;
  /// All variables that an optimizer steps, wherever it does.
  std::vector<int> stepped;
  int64_t batch = 0;  // samples of every batch; 0: any number
  bool has_host_operations = false;
  bool differentiates;  // whether there is a backward pass: in trainings, and in functions that ask for derivatives
  bool joins_samples_in_training = false;  // whether the outputs of a sample depend on the other samples of the batch
  bool joins_samples = false;              // the same, in predictions, too
  double multiply_adds = 0.0;              // of the forward products, for one sample

 private:
  Mode mode_;
  Variables variables_;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<Operation>> operations_;
};

/// Who writes the values of a graph and who reads them, found in one walk. Out of date once the graph changes.
class Uses {
 public:
  explicit Uses(const Graph& graph);

  /// Number of the operation that writes `value`; -1 for variables.
  int producer(ValueId value) const { return producers_[static_cast<size_t>(value)]; }
  /// How many operations read or update it, and the number of the last of them; -1 for none.
  int reader_count(ValueId value) const { return counts_[static_cast<size_t>(value)]; }
  int last_reader(ValueId value) const { return last_readers_[static_cast<size_t>(value)]; }

 private:
  std::vector<int> producers_, counts_, last_readers_;
};

}  // namespace engine::graph
