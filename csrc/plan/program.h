// A model in C++: its weights, its optimizer state, and the plans that were compiled for it.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "plan/arena.h"
#include "plan/executor.h"
#include "plan/plan.h"
#include "plan/storage.h"

namespace engine {

/// A plan and the memory in which one run executes it. It returns to its pool when the last owner releases it.
struct Workspace {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const TrainingSpec> training;  // what the plan was compiled for; null before `configure`
  Arena arena;
  ExecutorState executor_state = {};
  float* buffer(int index) const { return arena.data() + plan->buffers[static_cast<size_t>(index)].offset; }
};

/// What an optimizer keeps for each weight. Each arena is laid out like the weights; it is empty if the optimizer does
/// not need it.
struct OptimizerState {
  Arena slots[kMaxSlots];
  Arena accumulated;
  Arena averages;
};

class Program;

/// The weight array of another program that a new program uses as its own. If `program` is null, it uses a new array.
struct Loan {
  std::shared_ptr<const Program> program;
  size_t variable = 0;
};

class Program {
 public:
  /// `loans` has one entry for each variable, or is empty if all weights are new.
  explicit Program(ModelSpec model, const std::vector<Loan>& loans = {});

  const ModelSpec& model() const { return model_; }
  const Parameters& parameters() const { return parameters_; }
  int64_t output_size() const;
  /// Returns the width of one of the `output_groups` rows that a sample's output consists of.
  int64_t output_width() const { return output_size() / model_.output_groups; }
  /// Returns the weights of each variable.
  float* const* weights() const { return weights_.data(); }

  /// Sets loss, optimizer and metrics. Resets the optimizer state and the number of iterations.
  void configure(TrainingSpec training);
  /// Returns what the last `configure` set; null before the first. A run compares the pointer to find out that the
  /// program was configured again.
  std::shared_ptr<const TrainingSpec> training() const;
  float* slots(int slot) const { return state_.slots[slot].data(); }
  float* accumulated() const { return state_.accumulated.data(); }
  float* averages() const { return state_.averages.data(); }

  int64_t iterations() const { return iterations_; }
  void set_iterations(int64_t n) { iterations_ = n; }

  /// Returns a workspace for batches of up to `rows` rows on up to `threads` threads, which nobody else uses while it
  /// is held. `compressed` says whether the rows of the data set are compressed.
  std::shared_ptr<Workspace> lease(Plan::Mode mode, bool compressed, int64_t rows, int threads);

  /// Lock the weights for reading or for changing them. A training holds the lock for some batches at a time.
  Hold read_lock() const { return Hold(storages_, false); }
  Hold write_lock() const { return Hold(storages_, true); }
  /// Returns the lock that steps of a plan of this mode need.
  Hold lock_for(Plan::Mode mode) const;
  /// Returns whether a thread waits for the weights of this program, or for a fork.
  bool awaited() const;

 private:
  using Key = std::tuple<Plan::Mode, bool, int64_t, int>;
  struct GiveBack;
  struct Pool {  // guarded by `short_lock`
    std::map<Key, std::vector<std::unique_ptr<Workspace>>> free;
    int64_t kept = 0;  // floats in `free`
  };

  ModelSpec model_;
  Parameters parameters_;
  Storages storages_;                              // that hold weights of this program
  std::vector<std::shared_ptr<Storage>> holders_;  // of each variable
  std::vector<float*> weights_;                    // of each variable
  OptimizerState state_;
  std::atomic<int64_t> iterations_{0};  // atomic, since other threads may read it during a training
  // The two change together, guarded by `short_lock`.
  std::shared_ptr<const TrainingSpec> training_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace engine
