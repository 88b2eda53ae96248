#include "runtime/program.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "graph/build.h"
#include "runtime/fork.h"

namespace engine {
namespace {

/// Limits for workspaces that are kept for later runs: the number of different keys, and floats in all (512 MiB).
/// Beyond them, workspaces are freed.
constexpr size_t kKeptSizes = 32;
constexpr int64_t kKeptFloats = int64_t{1} << 27;

OptimizerState new_state(const Device& device, const OptimizerSpec& optimizer, int64_t floats) {
  OptimizerState state;
  for (int s = 0; s < slot_count(optimizer.kind); ++s) {
    state.slots[s] = device.allocate(floats, s == 0 ? static_cast<float>(optimizer.initial_slot) : 0.0f);
  }
  if (optimizer.accumulate > 1) state.accumulated = device.allocate(floats);
  if (optimizer.averages) state.averages = device.allocate(floats);
  return state;
}

/// Whether a state has all that the optimizer keeps.
bool is_complete(const OptimizerStateView& state, const OptimizerSpec& optimizer) {
  for (int s = 0; s < slot_count(optimizer.kind); ++s) {
    if (!state.slots[s]) return false;
  }
  return (optimizer.accumulate == 1 || state.accumulated) && (!optimizer.averages || state.averages);
}

}  // namespace

WeightLayout lay_out(const Device& device, const Variables& variables) {
  WeightLayout layout;
  for (const Variable& variable : variables.all) {
    layout.offsets.push_back(layout.total);
    layout.total += device.memory_of(variable);
  }
  return layout;
}

Program::Program(Device& device, graph::ModelSpec model, const std::vector<std::shared_ptr<WeightArray>>& arrays)
    : device_(device),
      model_(std::move(model)),
      layout_(lay_out(device, model_.variables())),
      pool_(std::make_shared<Pool>()) {
  const std::vector<Variable>& variables = model_.variables().all;
  if (!arrays.empty() && arrays.size() != variables.size()) {
    throw std::invalid_argument("there must be an array or none for each of " + std::to_string(variables.size()) +
                                " variables, got " + std::to_string(arrays.size()));
  }
  const auto lock_of_new = std::make_shared<WeightLock>();
  for (size_t v = 0; v < variables.size(); ++v) {
    std::shared_ptr<WeightArray> array = arrays.empty() ? nullptr : arrays[v];
    if (!array) array = std::make_shared<WeightArray>(variables[v].shape, nullptr, lock_of_new);
    try {
      uses_.emplace_back(std::move(array), device, variables[v]);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("variable " + std::to_string(v) + ": " + error.what());
    }
    weights_.push_back(uses_.back().data());
    locks_.push_back(uses_.back().array()->lock());
  }
  locks_ = in_order(std::move(locks_));
}

Hold Program::lock_for(graph::Mode mode) const {
  // Predictions with training=True move the averages of batch normalization.
  const bool moves_averages = mode == graph::Mode::kSample && model_.mixes_samples();
  const bool changes = mode == graph::Mode::kTrain || moves_averages || model_.changes_variables();
  return changes ? write_lock() : read_lock();
}

bool Program::awaited() const {
  return fork_awaited() || std::any_of(locks_.begin(), locks_.end(), [](const auto& lock) { return lock->awaited(); });
}

void Program::configure(TrainingSpec training, bool keeps_state) {
  auto spec = std::make_shared<const TrainingSpec>(std::move(training));
  auto pool = std::make_shared<Pool>();
  const auto lock = write_lock();
  if (!keeps_state || !training_) {
    state_ = lender_ ? OptimizerState{} : new_state(device_, spec->optimizer, layout_.total);
    iterations_ = 0;
  }
  const std::lock_guard<std::mutex> state(short_lock());
  training_.swap(spec);
  pool_.swap(pool);
}

void Program::borrow_state(std::shared_ptr<Program> owner, const std::vector<int64_t>& places) {
  const std::vector<Variable>& own = variables().all;
  if (places.size() != own.size()) {
    throw std::invalid_argument("there must be a place for each of " + std::to_string(own.size()) + " variables, got " +
                                std::to_string(places.size()));
  }
  if (owner.get() == this || owner->borrows_state()) {
    throw std::invalid_argument("a state can't be lent by the same program, or by one that borrows it");
  }
  const std::vector<Variable>& lent = owner->variables().all;
  std::vector<int64_t> offsets(places.size());
  for (size_t v = 0; v < places.size(); ++v) {
    if (places[v] < 0) continue;
    const auto place = static_cast<size_t>(places[v]);
    if (place >= lent.size() || lent[place].rows != own[v].rows || lent[place].columns != own[v].columns) {
      throw std::invalid_argument("the state of variable " + std::to_string(v) + " is of another shape");
    }
    offsets[v] = owner->layout_.offsets[place];
  }
  const auto lock = write_lock();
  state_ = {};
  lender_ = std::move(owner);
  lent_offsets_ = std::move(offsets);
}

bool Program::borrows_state() const {
  const auto lock = read_lock();
  return lender_ != nullptr;
}

OptimizerStateView Program::state() const {
  const OptimizerState& held = lender_ ? lender_->state_ : state_;
  OptimizerStateView view;
  for (int s = 0; s < kMaxSlots; ++s) view.slots[s] = held.slots[s].data();
  view.accumulated = held.accumulated.data();
  view.averages = held.averages.data();
  view.offsets = lender_ ? lent_offsets_.data() : layout_.offsets.data();
  return view;
}

void Program::call(const std::shared_ptr<Workspace>& workspace, const ArgumentView* arguments, float* const* results,
                   int64_t step, double learning_rate) {
  static const TrainingSpec no_training;  // of functions that compute gradients but step no weights
  const Executable& executable = *workspace->executable;
  const bool learns = executable.graph().steps_variables;
  if (learns && !workspace->training) {
    throw std::invalid_argument("compile a function with an optimizer before it steps weights");
  }
  RunArguments run;
  run.arguments = arguments;
  run.results = results;
  run.data.rows = run.batch_size = model_.spec().batch;
  run.learning_rates = &learning_rate;
  run.first_iteration = step;
  run.training = workspace->training ? workspace->training.get() : &no_training;
  run.scratch = workspace->scratch.data();
  run.device_state = &workspace->device_state;
  for (int64_t cursor = 0; cursor < executable.steps(); ++cursor) {
    {
      const auto lock = lock_for(graph::Mode::kFunction);
      run.weights = weights();
      run.state = state();
      if (learns && !is_complete(run.state, workspace->training->optimizer)) {
        throw std::invalid_argument("the program that lends its optimizer state was compiled with another optimizer");
      }
      cursor = device_.run(executable, run, cursor, executable.steps(), [] { return true; });
      if (learns && cursor == executable.steps()) state_owner().set_iterations(step);
    }
    if (cursor < executable.steps()) do_step(workspace, *executable.host_operation(cursor));
  }
}

void Program::do_step(const std::shared_ptr<Workspace>&, const graph::HostOperation& step) {
  throw std::invalid_argument(std::string("nobody is there to do the step '") + step.name() + "'");
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
    const int64_t size = owned->executable->scratch_floats();
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

std::shared_ptr<const graph::Graph> Program::graph(graph::Mode mode) {
  std::shared_ptr<Pool> pool;
  std::shared_ptr<const TrainingSpec> training;
  {
    const std::lock_guard<std::mutex> state(short_lock());
    pool = pool_;
    training = training_;
  }
  return graph_of(*pool, training.get(), mode);
}

std::shared_ptr<const graph::Graph> Program::graph_of(Pool& pool, const TrainingSpec* training,
                                                      graph::Mode mode) const {
  {
    const std::lock_guard<std::mutex> state(short_lock());
    const auto found = pool.graphs.find(mode);
    if (found != pool.graphs.end()) return found->second;
  }
  const TrainingSpec none;
  auto built = graph::build_graph(model_, training ? *training : none, mode);
  const std::lock_guard<std::mutex> state(short_lock());
  return pool.graphs.emplace(mode, std::move(built)).first->second;
}

std::shared_ptr<Workspace> Program::lease(graph::Mode mode, bool compressed, int64_t rows, int threads) {
  const Key key{mode, compressed, rows, threads};
  std::shared_ptr<Pool> pool;
  std::shared_ptr<const TrainingSpec> training;
  std::unique_ptr<Workspace> workspace;
  std::shared_ptr<const Executable> executable;
  {
    const std::lock_guard<std::mutex> state(short_lock());
    pool = pool_;
    training = training_;
    executable = pool->executables[key].lock();
    auto& free = pool->free[key];
    if (!free.empty()) {
      workspace = std::move(free.back());
      free.pop_back();
      pool->kept -= workspace->executable->scratch_floats();
    }
  }
  if (!workspace) {
    if (!executable) {
      executable = device_.compile(graph_of(*pool, training.get(), mode), {compressed, rows, threads});
      const std::lock_guard<std::mutex> state(short_lock());
      if (pool->executables.size() > kKeptSizes) pool->executables.clear();
      pool->executables[key] = executable;
    }
    Arena scratch = device_.allocate(executable->scratch_floats());
    workspace = std::make_unique<Workspace>(Workspace{std::move(executable), training, std::move(scratch)});
  }
  return {workspace.release(), GiveBack{std::move(pool), key}};
}

}  // namespace engine
