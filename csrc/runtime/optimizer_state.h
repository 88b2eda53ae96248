// What an optimizer remembers from step to step.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "graph/training_spec.h"
#include "runtime/arena.h"
#include "runtime/device.h"
#include "runtime/weight_array.h"

namespace engine {

/// What an optimizer keeps for each weight of some variables, and how often it has stepped. All programs that step
/// these variables with the optimizer refer to one state. Who reads or changes it holds the locks of the variables.
class OptimizerState {
 public:
  /// A new state for `arrays`, each a variable as `variables` describes it.
  OptimizerState(const Device& device, std::vector<std::shared_ptr<WeightArray>> arrays,
                 std::vector<Variable> variables, const OptimizerSpec& optimizer);

  const OptimizerSpec& optimizer() const { return optimizer_; }
  const std::vector<std::shared_ptr<WeightArray>>& arrays() const { return arrays_; }
  const std::vector<Variable>& variables() const { return variables_; }
  const Device& device() const { return device_; }
  const WeightLocks& locks() const { return locks_; }

  /// Where the state of a variable lies in each arena, in floats; -1 for an array that the optimizer doesn't step.
  int64_t offset(const WeightArray* array) const;
  /// The arenas, without offsets.
  OptimizerStateView view() const;

  /// Whether it has all that an optimizer keeps.
  bool suits(const OptimizerSpec& optimizer) const;

  int64_t iterations() const { return iterations_; }
  void set_iterations(int64_t n) { iterations_ = n; }

 private:
  const Device& device_;
  OptimizerSpec optimizer_;
  std::vector<std::shared_ptr<WeightArray>> arrays_;
  std::vector<Variable> variables_;
  std::vector<int64_t> offsets_;
  WeightLocks locks_;
  // Each arena is empty if the optimizer does not need it.
  Arena slots_[kMaxSlots];
  Arena accumulated_;
  Arena averages_;
  std::atomic<int64_t> iterations_{0};  // atomic, since other threads may read it during a training
};

}  // namespace engine
