// From a graph to a schedule: what the operations of all kinds use while they append their steps.
#pragma once
#include <functional>
#include <memory>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cpu/schedule.h"
#include "cpu/thread_context.h"

namespace engine::graph {
struct Gather;
}

namespace engine::cpu {

class ReadInputStep;  // cpu/operations/input_output.h
class RecordNonzerosStep;

class Scheduler {
 public:
  Scheduler(Schedule& schedule);

  /// Schedules all operations, and places their values and barriers.
  void run();

  // ---- What is known -------------------------------------------------------------------------------------------
  const graph::Graph& graph() const { return schedule_.graph(); }
  const graph::Value& value(ValueId id) const { return schedule_.values_[static_cast<size_t>(id)]; }
  bool differentiates() const { return graph().differentiates; }
  bool predicts() const { return graph::predicts(graph().mode()); }
  bool compressed() const { return schedule_.compressed(); }
  int threads() const { return schedule_.threads(); }
  int64_t max_rows() const { return schedule_.max_rows(); }
  /// Rows of a value in the largest batch.
  int64_t most_rows(ValueId id) const { return max_rows() * value(id).groups; }
  /// The operations that read or update a value.
  const std::vector<const graph::Operation*>& readers(ValueId id) const { return readers_[static_cast<size_t>(id)]; }
  /// Whether one team of threads runs a batch from its start to its end, since no step is the caller's.
  bool one_team() const { return !graph().has_host_operations; }

  // ---- How work is divided -------------------------------------------------------------------------------------
  /// The split in which each thread works on the part of `value` that it has computed itself: rows, columns, or a copy.
  Split split_like(const graph::Operation& operation, ValueId value) const;
  /// Whether the threads have computed different columns of a value.
  bool is_divided_by_column(ValueId value) const {
    return divisions_[static_cast<size_t>(value)] == Division::kColumns;
  }
  bool is_copied(ValueId value) const { return schedule_.placements_[static_cast<size_t>(value)].copied; }
  /// Whether no step of a batch computes the value: it is a variable, an argument, or numbers that never change.
  bool is_known(ValueId value) const {
    const Placement& place = schedule_.placements_[static_cast<size_t>(value)];
    return !place.in_scratch && place.result < 0;
  }

  // ---- What is made --------------------------------------------------------------------------------------------
  /// Appends a step. A step of every thread writes into copies of its values.
  template <class S, class... Args>
  S& add(Args&&... args) {
    auto step = std::make_unique<S>(std::forward<Args>(args)...);
    S& added = *step;
    append(std::move(step));
    return added;
  }
  /// Scratch (rows, columns), shared by all threads. Throws std::length_error where no machine has that much.
  ValueId add_scratch(int64_t rows, int64_t columns);
  /// The same, with a copy for each thread.
  ValueId add_thread_scratch(int64_t rows, int64_t columns);
  void give_copies(ValueId value) { schedule_.placements_[static_cast<size_t>(value)].copied = true; }
  void set_double_buffered(ValueId value) { schedule_.placements_[static_cast<size_t>(value)].double_buffered = true; }
  /// Each thread's scratch for products of `rows` rows in packed blocks; products one after the other share it.
  ValueId packing_scratch(int64_t rows);
  /// Each thread's scratch for one step, at least so many floats; all steps share it.
  ValueId step_scratch(int64_t floats);
  /// Says that the numbers of a value, in their order, never change. They get memory of their own.
  void set_numbers(ValueId value, const std::vector<float>& numbers);
  /// Lets steps read an argument of the call where it lies, as this value. Returns false where it has to be copied.
  bool place_in_argument(ValueId value, int argument);
  /// Lets the step that writes a value write it to the memory of a result. Returns false where it has to be copied.
  bool place_in_result(ValueId value, int result);
  /// Says that no step touches a value.
  void leave_out(ValueId value) { schedule_.placements_[static_cast<size_t>(value)].in_scratch = false; }
  /// Says that a step has been added for an operation that is still to come.
  void set_scheduled(const graph::Operation& operation) { scheduled_.insert(&operation); }
  /// The rows that maps gather while they read them as `value`, which no step writes; null where it is an array.
  const graph::Gather* gather(ValueId value) const;
  void set_gather(ValueId value, const graph::Gather& gather) { gathers_[value] = &gather; }
  void set_sparse_scale(float scale) { schedule_.sparse_scale_ = scale; }

  // ---- How rows of the data set reach products -----------------------------------------------------------------
  /// By value: the step that reads it from the data set, whose rows a product may read in place; null for others.
  const ReadInputStep* input_step(ValueId value) const;
  void set_input_step(ValueId value, const ReadInputStep& step) { inputs_[value] = &step; }
  /// Values that nothing before has learned, and that may hold many zeros, though they are no rows of the data set.
  bool is_augmented(ValueId value) const { return augmented_ == value; }
  void set_augmented(ValueId value) { augmented_ = value; }
  const RecordNonzerosStep* recording(ValueId value) const;
  void set_recording(ValueId value, const RecordNonzerosStep& step) { recordings_[value] = &step; }

 private:
  /// How the step that wrote a value was divided among threads.
  enum class Division { kRows, kColumns, kCopies, kOther };

  void append(std::unique_ptr<Step> step);
  void place_in_place();
  bool must_last(ValueId value) const;
  void tile_rows();
  void reuse_memory();
  void place_values();
  ValueId add_value(const graph::Value& value);
  /// Whether a value may lie in memory of the caller: its numbers lie side by side, and nobody needs them elsewhere.
  bool may_lie_outside(ValueId value) const;

  Schedule& schedule_;
  std::vector<std::vector<const graph::Operation*>> readers_;  // by value of the graph
  std::vector<Division> divisions_;                            // by value
  std::unordered_set<const graph::Operation*> scheduled_;      // before it was their turn
  std::unordered_map<ValueId, const graph::Gather*> gathers_;
  ValueId packing_[2] = {kNoValue, kNoValue};  // for up to kBlockRows rows, and for more
  ValueId step_scratch_ = kNoValue;
  std::unordered_map<ValueId, const ReadInputStep*> inputs_;
  std::unordered_map<ValueId, const RecordNonzerosStep*> recordings_;
  ValueId augmented_ = kNoValue;
};

/// How each kind of operation is scheduled.
class OperationRegistry {
 public:
  template <class Op>
  void add(void (*schedule)(Scheduler&, const Op&)) {
    table_[typeid(Op)] = [schedule](Scheduler& scheduler, const graph::Operation& operation) {
      schedule(scheduler, static_cast<const Op&>(operation));
    };
  }

  /// An operation with one step, which runs `function`, split as `split` says.
  template <class Op>
  void add(void (*function)(const Op&, const ThreadContext&), Split (*split)(const Scheduler&, const Op&));

  void schedule(Scheduler& scheduler, const graph::Operation& operation) const;

 private:
  std::unordered_map<std::type_index, std::function<void(Scheduler&, const graph::Operation&)>> table_;
};

/// The step of an operation that needs nothing but its own operands.
template <class Op>
class SimpleStep final : public Step {
 public:
  SimpleStep(const Op& operation, Split split, void (*function)(const Op&, const ThreadContext&))
      : Step(&operation, split), own_(operation), function_(function) {}
  void run(const ThreadContext& thread) const override { function_(own_, thread); }

 private:
  const Op& own_;
  void (*function_)(const Op&, const ThreadContext&);
};

template <class Op>
void OperationRegistry::add(void (*function)(const Op&, const ThreadContext&),
                            Split (*split)(const Scheduler&, const Op&)) {
  table_[typeid(Op)] = [function, split](Scheduler& scheduler, const graph::Operation& operation) {
    const auto& own = static_cast<const Op&>(operation);
    scheduler.add<SimpleStep<Op>>(own, split(scheduler, own), function);
  };
}

// Common splits.
template <class Op>
Split by_samples(const Scheduler&, const Op&) {
  return Split::over(kSamples);
}
template <Loop loop, class Op>
Split over(const Scheduler&, const Op&) {
  return Split::over(loop);
}
template <class Op>
Split by_first_thread(const Scheduler&, const Op&) {
  return Split::one_thread();
}
/// Like the step that wrote operand `value` of the operation.
template <auto value, class Op>
Split like(const Scheduler& scheduler, const Op& operation) {
  return scheduler.split_like(operation, operation.*value);
}

// Each file of cpu/operations/ adds its kinds.
void add_activations(OperationRegistry& all);
void add_arrangements(OperationRegistry& all);
void add_array_sources(OperationRegistry& all);
void add_batch_normalization(OperationRegistry& all);
void add_contractions(OperationRegistry& all);
void add_dense(OperationRegistry& all);
void add_embedding(OperationRegistry& all);
void add_host(OperationRegistry& all);
void add_image_augmentation(OperationRegistry& all);
void add_input_output(OperationRegistry& all);
void add_losses(OperationRegistry& all);
void add_maps(OperationRegistry& all);
void add_optimizers(OperationRegistry& all);
void add_penalties(OperationRegistry& all);
void add_pooling(OperationRegistry& all);
void add_random_noise(OperationRegistry& all);
void add_reductions(OperationRegistry& all);
void add_sorting(OperationRegistry& all);
void add_row_normalization(OperationRegistry& all);
void add_traced_losses(OperationRegistry& all);

}  // namespace engine::cpu
