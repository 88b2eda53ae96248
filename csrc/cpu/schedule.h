// A graph scheduled for the CPU: steps with the kernels chosen for them, divided among threads, and where values lie.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "graph/graph.h"
#include "runtime/device.h"

namespace engine::cpu {

using graph::kNoValue;
using graph::kSamples;
using graph::kWhole;
using graph::Loop;
using graph::Operand;
using graph::ValueId;

class ThreadContext;  // cpu/thread_context.h

/// How threads divide a step: they share one of the operation's loops, one thread does all of it, or every thread does
/// all of it for itself, into a copy of its own.
struct Split {
  enum class Kind { kLoop, kOneThread, kEveryThread };
  Kind kind = Kind::kLoop;
  Loop loop = kSamples;
  int thread = 0;  // kOneThread: modulo the number of threads

  static Split over(Loop loop) { return {Kind::kLoop, loop, 0}; }
  static Split one_thread(int thread = 0) { return {Kind::kOneThread, 0, thread}; }
  static Split every_thread() { return {Kind::kEveryThread, 0, 0}; }

  bool shares(Loop of) const { return kind == Kind::kLoop && loop == of; }
  bool is_every_thread() const { return kind == Kind::kEveryThread; }
};

/// Why a step waits for the other threads: since the last wait, they have used memory that it uses now.
struct Conflict {
  ValueId value = kNoValue;  // the operand of the step; kNoValue where there is no reason
  ValueId other = kNoValue;  // what the other threads used: the same value, or one whose memory it takes
  bool is_written = false;   // by them; else they read what the step changes
  bool is_of_previous_batch = false;
};

/// A few rows of arrays, for which a thread does several steps before it does them for the next rows (cpu/tiles.h).
struct Tile {
  int64_t steps = 0;    // how many, from this step on; 0 where this step is not the first of them
  int64_t rows = 0;     // the most rows of a tile
  graph::Extent all{};  // the rows of the arrays
};

/// A step of a batch. Each operation of the graph has one or more of them; the structs stand in cpu/operations/.
class Step {
 public:
  Step(const graph::Operation* operation, Split split) : split(split), operation(operation) {
    if (operation) operands = operation->operands();
  }
  virtual ~Step() = default;

  /// Does this thread's share of it.
  virtual void run(const ThreadContext& thread) const = 0;
  /// The kernel that was chosen, for people; empty where there is one alone.
  virtual std::string kernel() const { return {}; }

  /// Says that the step does not touch the memory of `value` after all.
  void forget(ValueId value);

  Split split;
  const graph::Operation* operation;  // null for a step that only prepares another one
  std::vector<Operand> operands;      // those of the operation, and scratch. Barriers follow from them alone.
  bool may_be_tiled = false;          // whether threads share its rows, and it takes no longer for a few rows at a time
  Tile tile;                          // the tile of this step and those behind it
  bool barrier = false;               // whether to wait for the other threads before the step
  Conflict conflict;                  // the first reason for that; none where the threads only agree to go on
};

/// Where a value lies in the scratch memory of a run.
struct Placement {
  int64_t rows = 0, columns = 0, ld = 0;
  int64_t groups = 1;            // rows for each sample
  int64_t offset = 0;            // in floats; of the first copy
  bool double_buffered = false;  // batches use one half of its rows and the other in turn
  bool copied = false;           // every thread has a copy of its own
  int64_t floats_of_row = 0;     // the length of a row, where the memory holds those of one tile alone; 0: it holds all
  bool in_scratch = true;        // false for variables, constants, and what lies in memory of the caller
  float* numbers = nullptr;      // those of a constant
  int argument = -1;             // the number of the argument of a call whose memory it is; -1: of none
  int result = -1;               // the same for results
  ValueId storage = kNoValue;    // the value whose memory it uses: itself, or one that it takes the place of
};

class Schedule final : public Executable {
 public:
  using Executable::Executable;

  int64_t steps() const override { return static_cast<int64_t>(steps_.size()); }
  const graph::HostOperation* host_operation(int64_t step) const override { return hosts_[static_cast<size_t>(step)]; }
  int64_t scratch_floats() const override { return scratch_floats_; }
  ValueView view(float* scratch, ValueId value) const override;
  std::optional<float> sparse_scale() const override { return sparse_scale_; }
  std::string to_text(const graph::ValueNames& names) const override;

  int threads() const { return options_.threads; }
  const Step& step(int64_t i) const { return *steps_[static_cast<size_t>(i)]; }
  int value_count() const { return static_cast<int>(values_.size()); }
  const graph::Value& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  const Placement& placement(ValueId id) const { return placements_[static_cast<size_t>(id)]; }
  int64_t copy_stride() const { return copy_stride_; }
  /// The numbers of a constant, padded to whole cache lines.
  const float* constants(ValueId id) const { return placement(id).numbers; }

 private:
  friend class Scheduler;

  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<const graph::HostOperation*> hosts_;  // by step; null where the device does it
  std::vector<graph::Value> values_;                // those of the graph, then scratch
  std::vector<Placement> placements_;               // by value
  std::unordered_map<ValueId, std::vector<float>> constants_;
  int64_t scratch_floats_ = 0;
  int64_t copy_stride_ = 0;  // floats from the copies of one thread to those of the next
  std::optional<float> sparse_scale_;

  std::vector<std::string> names_with_scratch(const graph::ValueNames& names) const;
  std::string loops_text(const Operand& operand) const;
};

/// Whether a step touches what other threads may have touched in the step before.
bool has_conflict(const Step& before, const Step& step, const std::vector<Placement>& placements);

/// Marks the steps before which threads must wait for each other: at least one.
void place_barriers(const std::vector<std::unique_ptr<Step>>& steps, const std::vector<Placement>& placements);

/// Gives every thread a copy of its own of the values of which it uses its own columns alone. Where rows hold columns
/// of several threads side by side, prefetchers fetch cache lines that another core is writing.
void separate_columns(const std::vector<std::unique_ptr<Step>>& steps, std::vector<Placement>& placements, int threads);

}  // namespace engine::cpu
