#include "runtime/program.h"

#include <algorithm>
#include <map>
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

/// Whether vectors may be read up to a line behind `end`, though nobody knows what lies there: where it lies in the
/// page of the last number, there is memory. The sanitizers don't allow it.
bool may_read_line_behind([[maybe_unused]] const float* end) {
#if defined(ENGINE_SANITIZED)
  return false;
#else
  constexpr uintptr_t kPage = 4096;  // the smallest of all systems
  const uintptr_t offset = reinterpret_cast<uintptr_t>(end) % kPage;
  return offset > 0 && offset + kLineFloats * sizeof(float) <= kPage;
#endif
}

/// The arguments of a call. Those that kernels may not read where they lie are copied.
class ReadableArguments {
 public:
  ReadableArguments(const Workspace& workspace, const std::vector<graph::Shape>& shapes, const ArgumentView* given)
      : views_(given, given + shapes.size()) {
    if (!workspace.executable->arguments_in_place()) return;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const auto* const data = static_cast<const float*>(given[i].data);
      const int64_t numbers = graph::element_count(shapes[i], 1);
      if (numbers == 0 || may_read_line_behind(data + numbers)) continue;
      copies_.emplace_back(numbers + kLineFloats);
      std::copy_n(data, numbers, copies_.back().data());
      views_[i].data = copies_.back().data();
    }
  }
  const ArgumentView* views() const { return views_.data(); }

 private:
  std::vector<ArgumentView> views_;
  std::vector<Arena> copies_;
};

/// Whether `kept` would have too many keys with this one.
template <class Key, class Value>
bool is_full(const std::map<Key, Value>& kept, const Key& key) {
  return kept.size() + 1 - kept.count(key) > kKeptSizes;
}

}  // namespace

Program::Program(Device& device, graph::ModelSpec model, const std::vector<std::shared_ptr<WeightArray>>& arrays)
    : device_(device), model_(std::move(model)), pool_(std::make_shared<Pool>()) {
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
  const bool moves_averages = mode == graph::Mode::kSample && model_.joins_samples_in_training();
  const bool changes = mode == graph::Mode::kTrain || moves_averages || model_.changes_variables();
  return changes ? write_lock() : read_lock();
}

bool Program::awaited() const {
  return fork_awaited() || std::any_of(locks_.begin(), locks_.end(), [](const auto& lock) { return lock->awaited(); });
}

void Program::compile(TrainingSpec training, std::shared_ptr<OptimizerState> state) {
  auto spec = std::make_shared<const TrainingSpec>(std::move(training));
  auto pool = std::make_shared<Pool>();
  if (!state) {
    std::vector<std::shared_ptr<WeightArray>> arrays;
    for (const WeightUse& use : uses_) arrays.push_back(use.array());
    state = std::make_shared<OptimizerState>(device_, std::move(arrays), variables().all, spec->optimizer);
  }
  const auto lock = write_lock();
  set_state(std::move(state), spec->optimizer);
  const std::lock_guard<std::mutex> guard(short_lock());
  training_.swap(spec);
  pool_.swap(pool);
}

void Program::use_state(std::shared_ptr<OptimizerState> state) {
  const auto spec = training();
  if (!spec) throw std::invalid_argument("compile a program before it uses the state of an optimizer");
  const auto lock = write_lock();
  if (state != state_) set_state(std::move(state), spec->optimizer);
}

void Program::set_state(std::shared_ptr<OptimizerState> state, const OptimizerSpec& optimizer) {
  if (!state->suits(optimizer)) throw std::invalid_argument("the state is that of another optimizer");
  std::vector<int64_t> offsets;
  for (const WeightUse& use : uses_) offsets.push_back(state->offset(use.array().get()));
  state_.swap(state);
  state_offsets_.swap(offsets);
}

OptimizerStateView Program::state_for(const graph::Graph& graph) const {
  OptimizerStateView view;
  if (state_) view = state_->view();
  view.offsets = state_offsets_.data();
  for (const int v : graph.stepped) {
    if (state_offsets_[static_cast<size_t>(v)] >= 0) continue;
    throw std::invalid_argument("the optimizer's state lacks a variable that the program steps: number " +
                                std::to_string(v) + "; use a state that was made for all of its variables");
  }
  return view;
}

void Program::call(const std::shared_ptr<Workspace>& workspace, const ArgumentView* arguments, float* const* results,
                   int64_t step, double learning_rate) {
  static const TrainingSpec no_training;  // of functions that compute gradients but step no weights
  const Executable& executable = *workspace->executable;
  const bool learns = !executable.graph().stepped.empty();
  if (learns && !workspace->training) {
    throw std::invalid_argument("compile a function with an optimizer before it steps weights");
  }
  RunArguments run;
  const ReadableArguments readable(*workspace, model_.arguments(), arguments);
  run.arguments = readable.views();
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
      if (learns && workspace->training != training()) {
        throw std::invalid_argument("the program was compiled again after this call began; call it again");
      }
      run.weights = weights();
      run.state = state_for(executable.graph());
      cursor = device_.run(executable, run, cursor, executable.steps(), [] { return true; });
      if (learns && cursor == executable.steps()) state_->set_iterations(step);
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
    if (is_full(pool->free, key) || pool->kept + size > kKeptFloats) {
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

int Program::threads_for(Pool& pool, const TrainingSpec* training, graph::Mode mode, int64_t rows) const {
  const std::pair<graph::Mode, int64_t> key{mode, rows};
  int useful = 0;
  {
    const std::lock_guard<std::mutex> state(short_lock());
    const auto found = pool.useful_threads.find(key);
    if (found != pool.useful_threads.end()) useful = found->second;
  }
  if (useful == 0) {
    useful = device_.useful_threads(*graph_of(pool, training, mode), rows);
    const std::lock_guard<std::mutex> state(short_lock());
    if (is_full(pool.useful_threads, key)) pool.useful_threads.clear();
    pool.useful_threads[key] = useful;
  }
  return useful == 1 ? 1 : std::min(useful, device_.threads());
}

std::shared_ptr<Workspace> Program::lease_function(bool arguments_in_place) {
  return lease(graph::Mode::kFunction, {false, model_.spec().batch, 0, arguments_in_place});
}

std::shared_ptr<Workspace> Program::lease(graph::Mode mode, const CompileOptions& asked) {
  std::shared_ptr<Pool> pool;
  std::shared_ptr<const TrainingSpec> training;
  {
    const std::lock_guard<std::mutex> state(short_lock());
    pool = pool_;
    training = training_;
  }
  CompileOptions options = asked;
  if (options.threads == 0) options.threads = threads_for(*pool, training.get(), mode, options.max_rows);
  const Key key{mode, options.compressed, options.max_rows, options.threads, options.arguments_in_place};
  std::unique_ptr<Workspace> workspace;
  std::shared_ptr<const Executable> executable;
  {
    const std::lock_guard<std::mutex> state(short_lock());
    const auto compiled = pool->executables.find(key);
    if (compiled != pool->executables.end()) executable = compiled->second.lock();
    const auto free = pool->free.find(key);
    if (free != pool->free.end() && !free->second.empty()) {
      workspace = std::move(free->second.back());
      free->second.pop_back();
      pool->kept -= workspace->executable->scratch_floats();
    }
  }
  if (!workspace) {
    if (!executable) {
      executable = device_.compile(graph_of(*pool, training.get(), mode), options);
      const std::lock_guard<std::mutex> state(short_lock());
      if (is_full(pool->executables, key)) pool->executables.clear();
      pool->executables[key] = executable;
    }
    Arena scratch = device_.allocate(executable->scratch_floats());
    workspace = std::make_unique<Workspace>(Workspace{std::move(executable), training, std::move(scratch)});
  }
  return {workspace.release(), GiveBack{std::move(pool), key}};
}

}  // namespace engine
