// A model or a function in C++: what it computes with which weights, and the executables that were compiled for it.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "graph/model.h"
#include "runtime/arena.h"
#include "runtime/device.h"
#include "runtime/optimizer_state.h"
#include "runtime/weight_array.h"

namespace engine {

/// An executable, which others may run as well, and the memory in which one run works. `Program::lease` takes it from a
/// pool, to which it returns when its last owner releases it.
struct Workspace {
  std::shared_ptr<const Executable> executable;
  std::shared_ptr<const TrainingSpec> training;  // what the graph was built for; null before `compile`
  Arena scratch;
  DeviceState device_state = {};
  ValueView view(graph::ValueId value) const { return executable->view(scratch.data(), value); }
};

class Program {
 public:
  /// `arrays` has the weights of each variable, or null for new ones, which start at zero; empty if all are new. Takes
  /// their locks one after the other. Throws std::invalid_argument where a layer does not fit its inputs, or an array
  /// its variable.
  Program(Device& device, graph::ModelSpec model, const std::vector<std::shared_ptr<WeightArray>>& arrays = {});
  virtual ~Program() = default;

  Device& device() const { return device_; }
  const graph::Model& model() const { return model_; }
  const Variables& variables() const { return model_.variables(); }
  const std::shared_ptr<WeightArray>& array(size_t variable) const { return uses_[variable].array(); }
  /// Returns the weights of each variable, as the device keeps them.
  float* const* weights() const { return weights_.data(); }

  /// Sets loss, optimizer and metrics. `state` is that of the optimizer, which other programs may use as well; null
  /// for a new one. Throws std::invalid_argument where it is that of another optimizer.
  void compile(TrainingSpec training, std::shared_ptr<OptimizerState> state = nullptr);
  /// Returns what the last `compile` set; null before the first. A run compares the pointer to find out that the
  /// program was compiled again.
  std::shared_ptr<const TrainingSpec> training() const;
  /// Uses another state of the optimizer from now on.
  void use_state(std::shared_ptr<OptimizerState> state);
  /// Null before `compile`. Who reads it holds the lock.
  const std::shared_ptr<OptimizerState>& optimizer_state() const { return state_; }
  /// What the steps of a graph read of it. Throws std::invalid_argument where it lacks a variable that they step.
  OptimizerStateView state_for(const graph::Graph& graph) const;

  /// Returns a workspace for batches of up to `options.max_rows` rows, which nobody else uses while it is held.
  std::shared_ptr<Workspace> lease(graph::Mode mode, const CompileOptions& options);
  /// Returns a workspace for calls of a function.
  std::shared_ptr<Workspace> lease_function(bool arguments_in_place);

  /// Computes the results of a function, in a workspace that was leased for its batch. `arguments` and `results` have
  /// one entry each, in their order. `step` is the number of the random draws, and of the optimizer's step. Throws
  /// std::invalid_argument if the function steps weights, but has no optimizer or no state for it.
  void call(const std::shared_ptr<Workspace>& workspace, const ArgumentView* arguments, float* const* results,
            int64_t step, double learning_rate);

  /// Returns the graph of a batch in this mode.
  std::shared_ptr<const graph::Graph> graph(graph::Mode mode);

  /// Lock the weights for reading or for changing them. A training holds the lock for some batches at a time.
  Hold read_lock() const { return Hold(locks_, false); }
  Hold write_lock() const { return Hold(locks_, true); }
  /// Returns the lock that a run in this mode needs.
  Hold lock_for(graph::Mode mode) const;
  /// Returns whether a thread waits for the weights of this program, or for a fork.
  bool awaited() const;

 protected:
  /// Does a step of a function that the device leaves to the caller. No lock is held meanwhile.
  virtual void do_step(const std::shared_ptr<Workspace>& workspace, const graph::HostOperation& step);

 private:
  using Key = std::tuple<graph::Mode, bool, int64_t, int, bool>;
  using Graphs = std::map<graph::Mode, std::shared_ptr<const graph::Graph>>;
  struct GiveBack;
  /// What was built for one training, so that it can be used again. Guarded by `short_lock`.
  struct Pool {
    Graphs graphs;
    std::map<std::pair<graph::Mode, int64_t>, int> useful_threads;  // by mode and rows of a batch
    std::map<Key, std::vector<std::unique_ptr<Workspace>>> free;
    std::map<Key, std::weak_ptr<const Executable>> executables;  // of all workspaces: those of a key share one
    int64_t kept = 0;                                            // scratch floats of all workspaces in `free`
  };

  void set_state(std::shared_ptr<OptimizerState> state, const OptimizerSpec& optimizer);
  std::shared_ptr<const graph::Graph> graph_of(Pool& pool, const TrainingSpec* training, graph::Mode mode) const;
  /// The threads for batches of so many rows: as many as they are worth and the device has.
  int threads_for(Pool& pool, const TrainingSpec* training, graph::Mode mode, int64_t rows) const;

  Device& device_;
  graph::Model model_;
  std::vector<WeightUse> uses_;  // by variable
  std::vector<float*> weights_;  // by variable: what the uses point to, side by side
  WeightLocks locks_;            // of all arrays
  // The two change together, under `write_lock`.
  std::shared_ptr<OptimizerState> state_;
  std::vector<int64_t> state_offsets_;  // by variable: where its state lies in the arenas; -1: nowhere

  // The two change together, guarded by `short_lock`.
  std::shared_ptr<const TrainingSpec> training_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace engine
