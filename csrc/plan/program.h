// One model: its weights, optimizer state and the plans compiled for it. Passes lease their scratch here.
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

/// Scratch of one pass, given back to its pool when the last owner lets go.
struct Workspace {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const TrainingSpec> training;  // the one the plan was compiled for; null before `configure`
  Arena arena;
  ExecutorState executor_state = {};
  float* buffer(int index) const { return arena.data() + plan->buffers[static_cast<size_t>(index)].offset; }
};

/// One arena each, laid out like the weights; empty where the optimizer has none.
struct OptimizerState {
  Arena slots[kMaxSlots];
  Arena accumulated;
  Arena averages;
};

class Program;

/// A weight array of a program that another one uses as its own; of none where `program` is null.
struct Loan {
  std::shared_ptr<const Program> program;
  size_t variable = 0;
};

class Program {
 public:
  /// `loans` has one for each variable, or is empty: all weights are new then.
  explicit Program(ModelSpec model, const std::vector<Loan>& loans = {});

  const ModelSpec& model() const { return model_; }
  const Parameters& parameters() const { return parameters_; }
  int64_t output_size() const;
  /// Numbers in a row of it.
  int64_t output_width() const { return output_size() / model_.output_groups; }
  /// Of each variable.
  float* const* weights() const { return weights_.data(); }

  /// Sets loss, optimizer and metrics; optimizer state and `iterations` start at zero.
  void configure(TrainingSpec training);
  /// Changes with every `configure`, and a pass belongs to one of them; null before the first.
  std::shared_ptr<const TrainingSpec> training() const;
  float* slots(int slot) const { return state_.slots[slot].data(); }
  float* accumulated() const { return state_.accumulated.data(); }
  float* averages() const { return state_.averages.data(); }

  int64_t iterations() const { return iterations_; }
  void set_iterations(int64_t n) { iterations_ = n; }

  /// Scratch for batches of up to `rows` rows, which may come `compressed`, on up to `threads` threads.
  std::shared_ptr<Workspace> lease(Plan::Mode mode, bool compressed, int64_t rows, int threads);

  /// Held for reading by what uses the weights and for writing by what changes them, for one stretch of steps at
  /// a time.
  Hold read_lock() const { return Hold(storages_, false); }
  Hold write_lock() const { return Hold(storages_, true); }
  /// The one that steps of a plan of this mode need.
  Hold lock_for(Plan::Mode mode) const;
  /// Whether somebody waits for weights of this program.
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
  std::atomic<int64_t> iterations_{0};  // which others may ask for while a run counts on
  // The two change together, guarded by `short_lock`.
  std::shared_ptr<const TrainingSpec> training_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace engine
