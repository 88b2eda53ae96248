// Runs schedules with a team of threads. They walk a stretch of batches together, and meet at barriers.
#include "cpu/device.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <optional>

#include "cpu/denormals.h"
#include "cpu/dispatch.h"
#include "cpu/kernel_choice.h"
#include "cpu/panels.h"
#include "cpu/scheduler.h"
#include "cpu/sparse_rows.h"
#include "cpu/thread_context.h"
#include "cpu/thread_policy.h"
#include "cpu/thread_pool.h"

namespace engine::cpu {
namespace {

class CpuDevice final : public Device {
 public:
  CpuDevice() : kernels_(kernels()) { install_fork_handler(); }

  std::string name() const override { return "cpu"; }
  Arena allocate(int64_t floats, float value) const override {
    Arena arena(floats);
    if (value != 0.0f) std::fill_n(arena.data(), floats, value);
    return arena;
  }
  std::shared_ptr<const DatasetCopy> copy(const DatasetView&, const std::vector<TargetSizes>&) const override {
    return nullptr;
  }
  int64_t memory_of(const Variable& variable) const override;
  void upload(const Variable& variable, const float* values, float* memory) const override {
    pack_panels(values, variable.columns, variable.rows, variable.columns, memory);
  }
  void download(const Variable& variable, const float* memory, float* values) const override {
    unpack_panels(memory, variable.rows, variable.columns, values);
  }
  std::shared_ptr<const Executable> compile(std::shared_ptr<const graph::Graph> graph,
                                            const CompileOptions& options) const override;
  int64_t run(const Executable& executable, const RunArguments& arguments, int64_t begin, int64_t end,
              const std::function<bool()>& keep_going) override;
  PredictionTeams divide_prediction(const graph::Graph& graph, int64_t rows, int most_threads) const override;
  bool predict(const Executable& executable, const RunArguments& arguments,
               const std::vector<float*>& scratch) override;
  bool predict_here(const Executable& executable, const RunArguments& arguments) override;
  SparseRows sparse_rows(const DatasetView& data, float scale) const;
  int64_t first_nonfinite_row(const DatasetView& data) const;
  int threads() const override { return asked_threads() > 0 && has_openmp() ? asked_threads() : available_threads(); }
  int useful_threads(const graph::Graph& graph, int64_t rows) const override {
    return threads_for_batch(graph, rows, std::numeric_limits<int>::max());
  }
  void set_threads(int n) { threads_.store(n, std::memory_order_relaxed); }
  int set_threads_here(int n) { return std::exchange(threads_here, n); }

 private:
  /// The threads that read all rows once.
  int threads_to_read(const DatasetView& data) const;
  /// What the calling thread or, where it has asked for none, the process has asked for; 0 for none.
  int asked_threads() const { return threads_here > 0 ? threads_here : threads_.load(std::memory_order_relaxed); }

  /// What became of a stretch of batches.
  struct Outcome {
    int64_t cursor;     // of the next step to run
    bool ran_its_time;  // the stretch ended because its time was over, and for no other reason
    ThreadPolicy::Evidence evidence;
  };
  /// Measures the times of the outcome only where the stretch has a length, after which somebody asks for them.
  Outcome run_stretch(const ThreadPolicy::Stretch& stretch, const Schedule& schedule, const RunArguments& arguments,
                      int64_t begin, int64_t end, const std::function<bool()>& keep_going);
  bool predict_batch(ThreadContext& thread, const RunArguments& arguments, const Batch& batch) const;

  const KernelTable& kernels_;
  std::atomic<int> threads_{0};
  static thread_local int threads_here;
};

thread_local int CpuDevice::threads_here = 0;

int64_t CpuDevice::memory_of(const Variable& variable) const {
  // Another thread may be writing the beginning of what lies behind it.
  return Panels(variable.rows, variable.columns).floats() + kThreadGap;
}

std::shared_ptr<const Executable> CpuDevice::compile(std::shared_ptr<const graph::Graph> graph,
                                                     const CompileOptions& options) const {
  CompileOptions chosen = options;
  chosen.threads = threads_for_batch(*graph, options.max_rows, options.threads);
  auto schedule = std::make_shared<Schedule>(std::move(graph), chosen);
  Scheduler(*schedule).run();
  return schedule;
}

/// All executables that the device is given are its own.
const Schedule& schedule_of(const Executable& executable) { return static_cast<const Schedule&>(executable); }

Batch batch_at(const RunArguments& arguments, int64_t index) {
  const int64_t first = index * arguments.batch_size;
  return {index, first, std::min(arguments.batch_size, arguments.data.rows - first)};
}

/// Returns the policy of the run's workspace; null if a run uses all threads of its schedule. A number of threads that
/// the user asked for is used whatever else the machine does.
ThreadPolicy* policy_of(const RunArguments& arguments, bool user_chose_threads) {
  if (user_chose_threads || !arguments.device_state) return nullptr;
  if (!*arguments.device_state) *arguments.device_state = std::make_shared<ThreadPolicy>();
  return static_cast<ThreadPolicy*>(arguments.device_state->get());
}

int64_t CpuDevice::run(const Executable& executable, const RunArguments& arguments, int64_t begin, int64_t end,
                       const std::function<bool()>& keep_going) {
  const Schedule& schedule = schedule_of(executable);
  const bool user_chose_threads = asked_threads() > 0;
  ThreadPolicy* const policy = schedule.threads() > 1 ? policy_of(arguments, user_chose_threads) : nullptr;
  if (!policy) {
    return run_stretch({schedule.threads(), Duration::max()}, schedule, arguments, begin, end, keep_going).cursor;
  }
  Outcome outcome{begin, true, {}};
  while (outcome.ran_its_time && outcome.cursor < end) {
    const ThreadPolicy::Stretch stretch = policy->next(schedule.threads(), Clock::now());
    outcome = run_stretch(stretch, schedule, arguments, outcome.cursor, end, keep_going);
    policy->note(outcome.evidence, Clock::now());
  }
  return outcome.cursor;
}

/// Does one thread's share of a step.
void run_step(const Step& step, ThreadContext& thread, const Batch& batch) {
  if (step.split.kind == Split::Kind::kOneThread && step.split.thread % thread.worker.threads != thread.worker.index) {
    return;
  }
  thread.begin(step, batch);
  if (step.operation && step.operation->is_of_step && !thread.steps_weights()) return;
  step.run(thread);
}

/// Does one thread's share of a step, and of the steps that are done in turns with it. Returns how many these are.
int64_t run_steps_from(int64_t first, const Schedule& schedule, ThreadContext& thread, const Batch& batch) {
  const Tile& tile = schedule.step(first).tile;
  if (tile.steps == 0) {
    run_step(schedule.step(first), thread, batch);
    return 1;
  }
  const Range own = thread.worker.slice(tile.all.at(batch.rows));
  for (int64_t row = own.begin; row < own.end; row += tile.rows) {
    thread.tile = {row, std::min(row + tile.rows, own.end)};
    for (int64_t i = first; i < first + tile.steps; ++i) run_step(schedule.step(i), thread, batch);
  }
  thread.tile = {};
  return tile.steps;
}

CpuDevice::Outcome CpuDevice::run_stretch(const ThreadPolicy::Stretch& stretch, const Schedule& schedule,
                                          const RunArguments& arguments, int64_t begin, int64_t end,
                                          const std::function<bool()>& keep_going) {
  const int64_t steps = schedule.steps();
  const bool is_measured = stretch.length != Duration::max();
  const Clock::time_point start = Clock::now();
  // Thread 0 lowers the limit before the first barrier of a batch, and all threads read it at the end of the batch.
  // Every batch of several threads has a barrier (barriers.cpp), so all of them read the same.
  std::atomic<int64_t> limit{end};
  bool ran_its_time = false;
  const auto go_on = [&] {
    if (!keep_going()) return false;
    ran_its_time = is_measured && Clock::now() - start >= stretch.length;
    return !ran_its_time;
  };
  TeamTimes times;
  const Duration sleep_time = run_team(stretch.threads, [&](const Worker& worker) {
    std::optional<TeamTimes::Timer> timer;  // it asks the system, which takes as long as a small layer
    if (is_measured) timer.emplace(times);
    ThreadContext thread(kernels_, schedule, arguments, worker);
    for (int64_t cursor = begin; cursor < limit.load(std::memory_order_relaxed);) {
      const Batch batch = batch_at(arguments, cursor / steps);
      const int64_t batch_begin = batch.index * steps;
      if (worker.index == 0 && cursor == batch_begin && cursor > begin && !go_on()) {
        limit.store(std::min(end, batch_begin + steps), std::memory_order_relaxed);
      }
      const int64_t batch_end = std::min(end, batch_begin + steps);
      while (cursor < batch_end) {
        if (schedule.host_operation(cursor - batch_begin)) {
          if (worker.index == 0) {
            limit.store(cursor, std::memory_order_relaxed);
            ran_its_time = false;
          }
          return;
        }
        const Step& step = schedule.step(cursor - batch_begin);
        if (step.barrier) worker.wait_for_team();
        cursor += run_steps_from(cursor - batch_begin, schedule, thread, batch);
      }
    }
  });
  const int64_t reached = limit.load(std::memory_order_relaxed);
  const double batches = static_cast<double>(reached - begin) / static_cast<double>(steps);
  return {reached, ran_its_time, {batches, Clock::now() - start, times.thread_time(), times.cpu_time(), sleep_time}};
}

/// Divides the rows of a prediction among threads: each thread takes a batch when it has finished its last one.
class Batches {
 public:
  Batches(int64_t rows, int64_t most_rows, int takers) : rows_(rows), most_rows_(most_rows), takers_(takers) {}

  /// Sets `batch` to the next batch; returns false if no row is left. The last batches are smaller, so that all threads
  /// finish at about the same time.
  bool take(Batch& batch) {
    int64_t first = next_.load(std::memory_order_relaxed);
    while (first < rows_) {
      const int64_t left = rows_ - first;
      const int64_t share = takers_ == 1 ? left : std::max(round_up(left / (2 * takers_), kLineFloats), kLineFloats);
      const int64_t rows = std::min({left, share, most_rows_});
      if (next_.compare_exchange_weak(first, first + rows, std::memory_order_relaxed)) {
        batch = {0, first, rows};
        return true;
      }
    }
    return false;
  }

  void stop() { next_.store(rows_, std::memory_order_relaxed); }

 private:
  const int64_t rows_, most_rows_;
  const int takers_;
  std::atomic<int64_t> next_{0};
};

PredictionTeams CpuDevice::divide_prediction(const graph::Graph& graph, int64_t rows, int most_threads) const {
  // The machine is asked for its threads only where more than one is worthwhile.
  const int most = useful_threads(graph, rows) == 1 ? 1 : most_threads > 0 ? most_threads : threads();
  return cpu::divide_prediction(graph, rows, most);
}

bool CpuDevice::predict(const Executable& executable, const RunArguments& arguments,
                        const std::vector<float*>& scratch) {
  const Schedule& schedule = schedule_of(executable);
  if (schedule.threads() > 1) {
    if (arguments.finite && first_nonfinite_row(arguments.data) >= 0) return false;
    RunArguments own = arguments;
    own.scratch = scratch.front();
    own.batch_size = schedule.max_rows();
    const int64_t batches = divide_up(arguments.data.rows, schedule.max_rows());
    run(schedule, own, 0, batches * schedule.steps(), [] { return true; });
    return true;
  }
  const auto teams = static_cast<int>(scratch.size());
  Batches batches(arguments.data.rows, schedule.max_rows(), teams);
  std::atomic<bool> finite{true};
  run_team(teams, [&](const Worker& worker) {
    const Worker alone{0, 1, worker.barrier};
    RunArguments own = arguments;
    own.scratch = scratch[static_cast<size_t>(worker.index)];
    ThreadContext thread(kernels_, schedule, own, alone);
    for (Batch batch; batches.take(batch);) {
      if (predict_batch(thread, arguments, batch)) continue;
      finite.store(false, std::memory_order_relaxed);
      batches.stop();
    }
  });
  return finite.load(std::memory_order_relaxed);
}

/// Returns false if the arguments ask for finite rows and a row is not.
bool CpuDevice::predict_batch(ThreadContext& thread, const RunArguments& arguments, const Batch& batch) const {
  for (int64_t i = 0; i < thread.schedule.steps();) i += run_steps_from(i, thread.schedule, thread, batch);
  if (!arguments.finite) return true;
  // The rows are checked after the products, which have brought them into a cache.
  const Range rows{batch.first, batch.first + batch.rows};
  const auto find_nonfinite = kernels_.first_nonfinite[static_cast<size_t>(arguments.data.type)];
  return find_nonfinite({arguments.data.x, arguments.data.stride, rows}) < 0;
}

bool CpuDevice::predict_here(const Executable& executable, const RunArguments& arguments) {
  const DenormalsAreZero guard;
  const Worker alone{0, 1, nullptr};
  const Schedule& schedule = schedule_of(executable);
  ThreadContext thread(kernels_, schedule, arguments, alone);
  for (int64_t first = 0; first < arguments.data.rows; first += schedule.max_rows()) {
    const Batch batch{0, first, std::min(schedule.max_rows(), arguments.data.rows - first)};
    if (!predict_batch(thread, arguments, batch)) return false;
  }
  return true;
}

int CpuDevice::threads_to_read(const DatasetView& data) const {
  // The system is asked for threads only where more than one is worthwhile.
  const int useful = threads_for_reading(data, std::numeric_limits<int>::max());
  return useful == 1 ? 1 : std::min(useful, threads());
}

SparseRows CpuDevice::sparse_rows(const DatasetView& data, float scale) const {
  return make_sparse_rows(kernels_, data, scale, threads_to_read(data));
}

int64_t CpuDevice::first_nonfinite_row(const DatasetView& data) const {
  std::atomic<int64_t> first{data.rows};
  run_team(threads_to_read(data), [&](const Worker& worker) {
    const Range rows = worker.slice(data.rows);
    const auto type = static_cast<size_t>(data.type);
    const int64_t found = kernels_.first_nonfinite[type]({data.x, data.stride, rows});
    for (int64_t seen = first.load(); found >= 0 && found < seen && !first.compare_exchange_weak(seen, found);) {
    }
  });
  return first.load() < data.rows ? first.load() : -1;
}

CpuDevice& the_device() {
  static CpuDevice device;
  return device;
}

}  // namespace

Device& device() { return the_device(); }

void set_threads(int n) { the_device().set_threads(n); }

int set_threads_here(int n) { return the_device().set_threads_here(n); }

SparseRows sparse_rows(const DatasetView& data, float scale) { return the_device().sparse_rows(data, scale); }

int64_t first_nonfinite_row(const DatasetView& data) { return the_device().first_nonfinite_row(data); }

}  // namespace engine::cpu
