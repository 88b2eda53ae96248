// Walks a plan with a team of threads: one parallel region per call, barriers inside it.
#include "cpu/executor.h"

#include <algorithm>
#include <atomic>

#include "cpu/crowd.h"
#include "cpu/denormals.h"
#include "cpu/dispatch.h"
#include "cpu/records.h"
#include "cpu/steps.h"
#include "cpu/team.h"

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
  struct Reached {
    int64_t cursor;
    bool for_another_team;  // and not because it was the end, a host step, or somebody had had enough
  };
  Reached run_among_others(const Plan& plan, const Frame& frame, int64_t begin, int64_t end,
                           const std::function<bool()>& keep_going);
  Reached run_with(const Crowd::Team& team, const Plan& plan, const Frame& frame, int64_t begin, int64_t end,
                   const std::function<bool()>& keep_going);
  bool predict_batch(const StepRunner& runner, const Plan& plan, const Frame& frame, const Batch& batch) const;

  const KernelTable& kernels_;
  Crowd crowd_;
  std::atomic<int> threads_{0};
};

Batch batch_at(const Frame& frame, int64_t index) {
  const int64_t first = index * frame.batch_size;
  return {index, first, std::min(frame.batch_size, frame.data.rows - first)};
}

int64_t CpuExecutor::run(const Plan& plan, const Frame& frame, int64_t begin, int64_t end,
                         const std::function<bool()>& keep_going) {
  // A number that was asked for is meant, whoever else is there.
  const bool asked = threads_.load(std::memory_order_relaxed) > 0;
  Reached reached{begin, false};
  do {
    if (asked || plan.threads == 1) {
      reached = run_with({plan.threads, Time::max()}, plan, frame, reached.cursor, end, keep_going);
    } else {
      reached = run_among_others(plan, frame, reached.cursor, end, keep_going);
    }
  } while (reached.for_another_team && reached.cursor < end);
  return reached.cursor;
}

/// On the team that the crowd leaves, or on a smaller one that is quicker.
CpuExecutor::Reached CpuExecutor::run_among_others(const Plan& plan, const Frame& frame, int64_t begin, int64_t end,
                                                   const std::function<bool()>& keep_going) {
  Crowd::Team team = crowd_.next(plan.threads);
  const bool paced = frame.pace && team.threads == plan.threads;
  const Time start = Clock::now();
  if (paced) {
    const Pace::Stretch stretch = frame.pace->next(plan.threads);
    team = {stretch.threads, std::min(team.until, start + stretch.length)};
  }
  const Reached reached = run_with(team, plan, frame, begin, end, keep_going);
  if (paced) {
    const auto steps = static_cast<double>(plan.steps.size());
    frame.pace->note(static_cast<double>(reached.cursor - begin) / steps, Clock::now() - start);
  }
  return reached;
}

CpuExecutor::Reached CpuExecutor::run_with(const Crowd::Team& team, const Plan& plan, const Frame& frame, int64_t begin,
                                           int64_t end, const std::function<bool()>& keep_going) {
  const auto steps = static_cast<int64_t>(plan.steps.size());
  // Thread 0 lowers the limit before the first barrier of a batch; everybody reads it at the batch's end. Every
  // plan for several threads has a barrier, so all see the same.
  std::atomic<int64_t> limit{end};
  bool for_another_team = false;
  const auto go_on = [&] {
    if (!keep_going()) return false;
    for_another_team = team.until != Time::max() && Clock::now() >= team.until;
    return !for_another_team;
  };
  Usage usage;
  const Duration slept = run_team(team.threads, [&](const Worker& worker) {
    const Usage::Part part(usage);
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
            for_another_team = false;
          }
          return;
        }
        if (step.barrier) worker.meet();
        runner.run(step, batch);
      }
    }
  });
  if (team.until != Time::max()) crowd_.note(team.threads, usage, slept);
  return {limit.load(std::memory_order_relaxed), for_another_team};
}

/// Where the threads of a prediction find their next batch.
class Batches {
 public:
  Batches(int64_t rows, int64_t most_rows, int takers) : rows_(rows), most_rows_(most_rows), takers_(takers) {}

  /// False where none is left. The last ones are smaller, so that all takers come to an end at about the same time.
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

/// False where a row is not finite, and the frame asks for that.
bool CpuExecutor::predict_batch(const StepRunner& runner, const Plan& plan, const Frame& frame,
                                const Batch& batch) const {
  for (const Step& step : plan.steps) runner.run(step, batch);
  if (!frame.finite) return true;
  // Afterwards, when the products have brought the rows into a cache.
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
