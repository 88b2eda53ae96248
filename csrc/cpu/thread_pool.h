// The threads of a run and the barrier between them. OpenMP keeps the threads; the partition of the work is ours.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "cpu/thread_placement.h"
#include "kernels/layout.h"
#include "kernels/table.h"

namespace engine {

using Clock = std::chrono::steady_clock;
using Duration = Clock::duration;

/// The most threads that a user may ask for: more than any machine has cores.
inline constexpr int kMostThreads = 1024;

/// The point where all threads of a team wait for each other. A waiting thread first spins for less than a microsecond,
/// since that is how long most waits last. Then it yields its core about a hundred times, so that another process that
/// wants the core makes progress. Then it sleeps until the last thread of the team has arrived and wakes it, so that
/// this thread can have the core if it has none.
class Barrier {
 public:
  /// Returns when all `threads` threads of the team have called it.
  void wait(int threads);

  /// Each thread calls these before its work and after it: see `ThreadPlacement`.
  void begin_work() { placement_.claim_core(); }
  void end_work() { placement_.release_core(); }

  /// Returns the time that threads have spent asleep here while others had not arrived yet, added up over the threads.
  Duration sleep_time() const { return Duration(sleep_time_.load(std::memory_order_relaxed)); }

 private:
  void sleep(uint32_t generation);

  // Each on a cache line of its own: arriving threads change the first, waiting threads read the second.
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};  // how often all threads have arrived
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<Duration::rep> sleep_time_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
  Clock::time_point released_{};  // when sleepers were woken last; guarded by `mutex_`
  ThreadPlacement placement_;
};

/// A thread's number in its team, and what it needs to cooperate with the others.
struct Worker {
  int index;  // 0 ... threads - 1
  int threads;
  Barrier* barrier;  // null if `threads` is 1 and nobody needs it

  /// Returns when all threads of the team have called it.
  void wait_for_team() const {
    if (threads > 1) barrier->wait(threads);
  }

  /// Returns this thread's part of 0 ... extent - 1. Parts consist of whole cache lines, and earlier threads get the
  /// larger parts: a single cache line belongs to thread 0. Equal extents are divided equally, so that a thread owns
  /// the same columns of every matrix of this width.
  Range slice(int64_t extent) const {
    const int64_t lines = divide_up(extent, kLane);
    const int64_t begin = divide_up(lines * index, threads) * kLane;
    const int64_t end = divide_up(lines * (index + 1), threads) * kLane;
    return {begin < extent ? begin : extent, end < extent ? end : extent};
  }
};

/// The time that threads of a team spend on some work, added up over the threads.
class TeamTimes {
 public:
  /// Adds the time of the calling thread from construction to destruction.
  class Timer {
   public:
    explicit Timer(TeamTimes& times);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

   private:
    TeamTimes& times_;
    Clock::time_point begin_;
    Duration cpu_begin_;
  };

  Duration thread_time() const { return Duration(thread_time_.load(std::memory_order_relaxed)); }
  /// Returns the part of `thread_time` that the threads spent on a core; all of it if the system does not tell.
  Duration cpu_time() const { return Duration(cpu_time_.load(std::memory_order_relaxed)); }

 private:
  std::atomic<Duration::rep> thread_time_{0}, cpu_time_{0};
};

/// Calls `work` on each thread of a team of `threads` threads, or of fewer if the system gives no more. Returns, when
/// all calls have returned, the time that the threads slept in barriers. `work` must not throw.
Duration run_team(int threads, const std::function<void(const Worker&)>& work);

/// Returns how many threads this process may use: OMP_NUM_THREADS, but no more than its affinity mask has cores.
int available_threads();

/// Returns false if the engine was built without OpenMP, and so without threads.
bool has_openmp();

/// Makes fork() safe: the child starts without a team and forms its own. Called once, at import.
void install_fork_handler();

}  // namespace engine
