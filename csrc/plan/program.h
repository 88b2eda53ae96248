// One model: its weights, optimizer state and the plans compiled for it. Passes lease their scratch here.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <tuple>
#include <vector>

#include "plan/arena.h"
#include "plan/executor.h"
#include "plan/plan.h"

namespace engine {

/// Scratch of one pass, given back to its pool when the last owner lets go.
struct Workspace {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const TrainingSpec> training;  // the one the plan was compiled for; null before `configure`
  Arena arena;
  float* buffer(int index) const { return arena.data() + plan->buffers[static_cast<size_t>(index)].offset; }
};

/// One arena each, laid out like the weights; empty where the optimizer has none.
struct OptimizerState {
  Arena slots[kMaxSlots];
  Arena accumulated;
  Arena averages;
};

class Program {
 public:
  explicit Program(ModelSpec model);

  const ModelSpec& model() const { return model_; }
  const Parameters& parameters() const { return parameters_; }
  int64_t output_size() const;
  /// Numbers in a row of it.
  int64_t output_width() const { return output_size() / model_.output_groups; }
  float* weights() const { return weights_.data(); }

  /// Sets loss, optimizer and metrics; optimizer state and `iterations` start at zero.
  void configure(TrainingSpec training);
  /// Changes with every `configure`, and a pass belongs to one of them; null before the first.
  std::shared_ptr<const TrainingSpec> training() const;
  float* slots(int slot) const { return state_.slots[slot].data(); }
  float* accumulated() const { return state_.accumulated.data(); }
  float* averages() const { return state_.averages.data(); }

  int64_t iterations() const { return iterations_; }
  void set_iterations(int64_t n) { iterations_ = n; }

  /// Scratch for batches of up to `rows` rows on up to `threads` threads.
  std::shared_ptr<Workspace> lease(Plan::Mode mode, int64_t rows, int threads);

  /// Held for reading by what uses the weights and for writing by what changes them, for one stretch of steps at
  /// a time. Whoever waits to read is seen by the writer, which then ends its stretch.
  std::shared_lock<std::shared_mutex> read_lock();
  std::unique_lock<std::shared_mutex> write_lock();
  bool awaited() const { return waiting_.load(std::memory_order_relaxed) > 0; }

 private:
  using Key = std::tuple<Plan::Mode, int64_t, int>;
  struct Pool {
    std::mutex mutex;
    std::map<Key, std::vector<std::unique_ptr<Workspace>>> free;
    int64_t kept = 0;  // floats in `free`
  };

  ModelSpec model_;
  Parameters parameters_;
  Arena weights_;
  OptimizerState state_;
  int64_t iterations_ = 0;
  mutable std::mutex state_mutex_;  // of the two pointers, which change together
  std::shared_ptr<const TrainingSpec> training_;
  std::shared_ptr<Pool> pool_;
  std::mutex turnstile_;  // std::shared_mutex may let readers pass a waiting writer for ever
  std::shared_mutex mutex_;
  std::atomic<int> waiting_{0};
};

}  // namespace engine
