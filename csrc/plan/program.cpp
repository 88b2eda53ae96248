#include "plan/program.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "plan/check.h"
#include "plan/fork.h"
#include "plan/operations.h"

namespace engine {
namespace {

/// Limits for workspaces that are kept for later runs: the number of different keys, and floats in all (512 MiB).
/// Beyond them, workspaces are freed.
constexpr size_t kKeptSizes = 32;
constexpr int64_t kKeptFloats = int64_t{1} << 27;

}  // namespace

Program::Program(ModelSpec model, const std::vector<Loan>& loans)
    : model_(std::move(model)), pool_(std::make_shared<Pool>()) {
  check(model_);
  parameters_ = lay_out(model_);
  const std::vector<Variable>& variables = parameters_.variables;
  if (!loans.empty() && loans.size() != variables.size()) {
    throw std::invalid_argument("there must be a loan or none for each of " + std::to_string(variables.size()) +
                                " variables, got " + std::to_string(loans.size()));
  }
  const auto is_own = [&](size_t v) { return loans.empty() || !loans[v].program; };
  int64_t own = 0;
  for (size_t v = 0; v < variables.size(); ++v) own += is_own(v) ? variables[v].floats() : 0;
  const auto storage = std::make_shared<Storage>(own);
  float* next = storage->data();
  storages_.push_back(storage);
  for (size_t v = 0; v < variables.size(); ++v) {
    if (is_own(v)) {
      holders_.push_back(storage);
      weights_.push_back(next);
      next += variables[v].floats();
      continue;
    }
    const Program& lender = *loans[v].program;
    const size_t lent = loans[v].variable;
    if (lent >= lender.weights_.size() || lender.parameters_.variables[lent].shape != variables[v].shape) {
      throw std::invalid_argument("variable " + std::to_string(v) + " can't be lent: it has another shape");
    }
    holders_.push_back(lender.holders_[lent]);
    weights_.push_back(lender.weights_[lent]);
    storages_.push_back(lender.holders_[lent]);
  }
  std::sort(storages_.begin(), storages_.end());
  storages_.erase(std::unique(storages_.begin(), storages_.end()), storages_.end());
}

Hold Program::lock_for(Plan::Mode mode) const {
  const bool moves_averages = mode == Plan::Mode::kSample && mixes_samples(model_);
  return mode == Plan::Mode::kTrain || moves_averages ? write_lock() : read_lock();
}

bool Program::awaited() const {
  return fork_awaited() ||
         std::any_of(storages_.begin(), storages_.end(), [](const auto& storage) { return storage->awaited(); });
}

int64_t Program::output_size() const {
  int64_t size = model_.input_size;
  for (const LayerSpec& layer : model_.layers) size = size_after(layer, size);
  return size;
}

void Program::configure(TrainingSpec training) {
  auto spec = std::make_shared<const TrainingSpec>(std::move(training));
  OptimizerState fresh;
  const OptimizerSpec& optimizer = spec->optimizer;
  for (int s = 0; s < slot_count(optimizer.kind); ++s) fresh.slots[s] = Arena(parameters_.size);
  if (optimizer.initial_slot != 0.0) {
    std::fill_n(fresh.slots[0].data(), parameters_.size, static_cast<float>(optimizer.initial_slot));
  }
  if (optimizer.accumulate > 1) fresh.accumulated = Arena(parameters_.size);
  if (optimizer.averages) fresh.averages = Arena(parameters_.size);
  auto pool = std::make_shared<Pool>();
  const auto lock = write_lock();
  state_ = std::move(fresh);
  iterations_ = 0;
  const std::lock_guard<std::mutex> state(short_lock());
  training_.swap(spec);
  pool_.swap(pool);
}

std::shared_ptr<const TrainingSpec> Program::training() const {
  const std::lock_guard<std::mutex> state(short_lock());
  return training_;
}

/// Deletes a workspace, or keeps it for the next run that needs one with the same key.
struct Program::GiveBack {
  std::shared_ptr<Pool> pool;
  Key key;

  void operator()(Workspace* used) const noexcept {
    std::unique_ptr<Workspace> owned(used);
    decltype(pool->free) dropped;  // declared before the lock, so that it is freed after the lock is released
    const int64_t size = owned->plan->arena_size;
    if (size > kKeptFloats) return;
    const std::lock_guard<std::mutex> lock(short_lock());
    if (pool->free.size() > kKeptSizes || pool->kept + size > kKeptFloats) {
      pool->free.swap(dropped);
      pool->kept = 0;
    }
    try {
      pool->free[key].push_back(std::move(owned));
      pool->kept += size;
    } catch (const std::bad_alloc&) {  // then the workspace is deleted
    }
  }
};

std::shared_ptr<Workspace> Program::lease(Plan::Mode mode, bool compressed, int64_t rows, int threads) {
  const Key key{mode, compressed, rows, threads};
  std::shared_ptr<Pool> pool;
  std::shared_ptr<const TrainingSpec> training;
  std::unique_ptr<Workspace> workspace;
  {
    const std::lock_guard<std::mutex> state(short_lock());
    pool = pool_;
    training = training_;
    auto& free = pool->free[key];
    if (!free.empty()) {
      workspace = std::move(free.back());
      free.pop_back();
      pool->kept -= workspace->plan->arena_size;
    }
  }
  if (!workspace) {
    auto plan = std::make_shared<const Plan>(
        compile(model_, parameters_, training ? *training : TrainingSpec{}, mode, compressed, rows, threads));
    workspace = std::make_unique<Workspace>(Workspace{plan, training, Arena(plan->arena_size)});
  }
  return {workspace.release(), GiveBack{std::move(pool), key}};
}

}  // namespace engine
