// Runs the steps of a plan with a team of threads. A stretch of batches is one parallel region with barriers in it.
#include "cpu/executor.h"

#include <algorithm>
#include <atomic>

#include "cpu/denormals.h"
#include "cpu/dispatch.h"
#include "cpu/records.h"
#include "cpu/steps.h"
#include "cpu/thread_policy.h"
#include "cpu/thread_pool.h"

namespace engine {
namespace {

class CpuExecutor final : public Executor {
 public:
  CpuExecutor() : kernels_(kernels()) { install_fork_handler(); }

  int64_t run(const Plan& plan, const Frame& frame, int64_t begin, int64_t end,
              const std::function<bool()>& keep_going) override;
  bool predict(const Plan& plan, const Frame& frame, const std::vector<float*>& arenas) override;
  bool predict_here(const Plan& plan, const Frame& frame) override;
  SparseRows sparse_rows(const DatasetView& data, float scale) override;
  int64_t first_nonfinite_row(const DatasetView& data) override;
  int threads() const override {
    const int asked = threads_.load(std::memory_order_relaxed);
    return asked > 0 && has_openmp() ? asked : available_threads();
  }
  void set_threads(int n) override { threads_.store(n, std::memory_order_relaxed); }

 private:
  /// What became of a stretch of batches.
  struct Outcome {
    int64_t cursor;     // of the next step to run
    bool ran_its_time;  // the stretch ended because its time was over, and for no other reason
    ThreadPolicy::Evidence evidence;
  };
  Outcome run_stretch(const ThreadPolicy::Stretch& stretch, const Plan& plan, const Frame& frame, int64_t begin,
                      int64_t end, const std::function<bool()>& keep_going);
  bool predict_batch(const StepRunner& runner, const Plan& plan, const Frame& frame, const Batch& batch) const;

  const KernelTable& kernels_;
  std::atomic<int> threads_{0};
};

Batch batch_at(const Frame& frame, int64_t index) {
  const int64_t first = index * frame.batch_size;
  return {index, first, std::min(frame.batch_size, frame.data.rows - first)};
}

/// Returns the policy of the frame's workspace; null if a run uses all threads of its plan. A number of threads that
/// the user asked for is used whatever else the machine does.
ThreadPolicy* policy_of(const Frame& frame, bool user_chose_threads) {
  if (user_chose_threads || !frame.executor_state) return nullptr;
  if (!*frame.executor_state) *frame.executor_state = std::make_shared<ThreadPolicy>();
  return static_cast<ThreadPolicy*>(frame.executor_state->get());
}

int64_t CpuExecutor::run(const Plan& plan, const Frame& frame, int64_t begin, int64_t end,
                         const std::function<bool()>& keep_going) {
  const bool user_chose_threads = threads_.load(std::memory_order_relaxed) > 0;
  ThreadPolicy* const policy = plan.threads > 1 ? policy_of(frame, user_chose_threads) : nullptr;
  if (!policy) return run_stretch({plan.threads, Duration::max()}, plan, frame, begin, end, keep_going).cursor;
  Outcome outcome{begin, true, {}};
  while (outcome.ran_its_time && outcome.cursor < end) {
    const ThreadPolicy::Stretch stretch = policy->next(plan.threads, Clock::now());
    outcome = run_stretch(stretch, plan, frame, outcome.cursor, end, keep_going);
    policy->note(outcome.evidence, Clock::now());
  }
  return outcome.cursor;
}

CpuExecutor::Outcome CpuExecutor::run_stretch(const ThreadPolicy::Stretch& stretch, const Plan& plan,
                                              const Frame& frame, int64_t begin, int64_t end,
                                              const std::function<bool()>& keep_going) {
  const auto steps = static_cast<int64_t>(plan.steps.size());
  const Clock::time_point start = Clock::now();
  // Thread 0 lowers the limit before the first barrier of a batch, and all threads read it at the end of the batch.
  // Every plan for several threads has a barrier, so all of them read the same.
  std::atomic<int64_t> limit{end};
  bool ran_its_time = false;
  const auto go_on = [&] {
    if (!keep_going()) return false;
    ran_its_time = stretch.length != Duration::max() && Clock::now() - start >= stretch.length;
    return !ran_its_time;
  };
  TeamTimes times;
  const Duration sleep_time = run_team(stretch.threads, [&](const Worker& worker) {
    const TeamTimes::Timer timer(times);
    const StepRunner runner(kernels_, plan, frame, worker);
    for (int64_t cursor = begin; cursor < limit.load(std::memory_order_relaxed);) {
      const Batch batch = batch_at(frame, cursor / steps);
      const int64_t batch_begin = batch.index * steps;
      if (worker.index == 0 && cursor == batch_begin && cursor > begin && !go_on()) {
        limit.store(std::min(end, batch_begin + steps), std::memory_order_relaxed);
      }
      const int64_t batch_end = std::min(end, batch_begin + steps);
      for (; cursor < batch_end; ++cursor) {
        const Step& step = plan.steps[static_cast<size_t>(cursor - batch_begin)];
        if (is_host(step.kind)) {
          if (worker.index == 0) {
            limit.store(cursor, std::memory_order_relaxed);
            ran_its_time = false;
          }
          return;
        }
        if (step.barrier) worker.wait_for_team();
        runner.run(step, batch);
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
      const int64_t share = takers_ == 1 ? left : std::max(round_up(left / (2 * takers_), kLane), kLane);
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

bool CpuExecutor::predict(const Plan& plan, const Frame& frame, const std::vector<float*>& arenas) {
  if (plan.threads > 1) {
    if (frame.finite && first_nonfinite_row(frame.data) >= 0) return false;
    Frame own = frame;
    own.arena = arenas.front();
    own.batch_size = plan.max_rows;
    const int64_t batches = divide_up(frame.data.rows, plan.max_rows);
    run(plan, own, 0, batches * static_cast<int64_t>(plan.steps.size()), [] { return true; });
    return true;
  }
  const auto teams = static_cast<int>(arenas.size());
  Batches batches(frame.data.rows, plan.max_rows, teams);
  std::atomic<bool> finite{true};
  run_team(teams, [&](const Worker& worker) {
    const Worker alone{0, 1, worker.barrier};
    Frame own = frame;
    own.arena = arenas[static_cast<size_t>(worker.index)];
    const StepRunner runner(kernels_, plan, own, alone);
    for (Batch batch; batches.take(batch);) {
      if (predict_batch(runner, plan, frame, batch)) continue;
      finite.store(false, std::memory_order_relaxed);
      batches.stop();
    }
  });
  return finite.load(std::memory_order_relaxed);
}

/// Returns false if `frame.finite` asks for finite rows and a row is not.
bool CpuExecutor::predict_batch(const StepRunner& runner, const Plan& plan, const Frame& frame,
                                const Batch& batch) const {
  for (const Step& step : plan.steps) runner.run(step, batch);
  if (!frame.finite) return true;
  // The rows are checked after the products, which have brought them into a cache.
  const Range rows{batch.first, batch.first + batch.rows};
  const auto find_nonfinite = kernels_.first_nonfinite[static_cast<size_t>(frame.data.type)];
  return find_nonfinite({frame.data.x, frame.data.stride, rows}) < 0;
}

bool CpuExecutor::predict_here(const Plan& plan, const Frame& frame) {
  const DenormalsAreZero guard;
  const Worker alone{0, 1, nullptr};
  const StepRunner runner(kernels_, plan, frame, alone);
  for (int64_t first = 0; first < frame.data.rows; first += plan.max_rows) {
    const Batch batch{0, first, std::min(plan.max_rows, frame.data.rows - first)};
    if (!predict_batch(runner, plan, frame, batch)) return false;
  }
  return true;
}

SparseRows CpuExecutor::sparse_rows(const DatasetView& data, float scale) {
  return make_sparse_rows(kernels_, data, scale, threads());
}

int64_t CpuExecutor::first_nonfinite_row(const DatasetView& data) {
  std::atomic<int64_t> first{data.rows};
  run_team(readers(data, threads()), [&](const Worker& worker) {
    const Range rows = worker.slice(data.rows);
    const auto type = static_cast<size_t>(data.type);
    const int64_t found = kernels_.first_nonfinite[type]({data.x, data.stride, rows});
    for (int64_t seen = first.load(); found >= 0 && found < seen && !first.compare_exchange_weak(seen, found);) {
    }
  });
  return first.load() < data.rows ? first.load() : -1;
}

}  // namespace

Executor& cpu_executor() {
  static CpuExecutor executor;
  return executor;
}

}  // namespace engine
