// The threads of a run and the barrier between them. OpenMP says how many threads a program may use; the threads and
// the partition of the work are ours.
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

namespace engine::cpu {

using Clock = std::chrono::steady_clock;
using Duration = Clock::duration;

/// The most threads that a user may ask for: more than any machine has cores.
inline constexpr int kMaxThreads = 1024;

/// What happens again and again, and what threads wait for. A waiting thread first spins for less than a microsecond,
/// since that is how long most waits last. Then it yields its core about a hundred times, so that another process that
/// wants the core makes progress. Then it sleeps until the event wakes it, so that the thread that it waits for can
/// have the core if it has none.
class Event {
 public:
  /// Returns how often it has happened.
  uint32_t count() const { return count_.load(std::memory_order_relaxed); }
  /// Lets it happen once more. Only one thread at a time may call this.
  void happen();
  /// Returns as soon as it has happened more than `seen` times. A thread that is at work in a team passes the placement
  /// of the team, since a thread on the same core may be the one that it waits for.
  void wait(uint32_t seen, ThreadPlacement* placement);

  /// Returns the time that threads have spent asleep here before it happened, added up over the threads.
  Duration sleep_time() const { return Duration(sleep_time_.load(std::memory_order_relaxed)); }

 private:
  void sleep(uint32_t seen, ThreadPlacement* placement);

  alignas(64) std::atomic<uint32_t> count_{0};
  alignas(64) std::atomic<int> sleepers_{0};  // on a cache line other than the one that waiting threads read
  std::atomic<Duration::rep> sleep_time_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
  Clock::time_point happened_{};  // when it woke sleepers last; guarded by `mutex_`
};

/// The point where all threads of a team wait for each other.
class Barrier {
 public:
  /// `placement` is null if the threads have finished their work when they wait.
  explicit Barrier(ThreadPlacement* placement = nullptr) : placement_(placement) {}

  /// Returns when all `threads` threads of the team have called it.
  void wait(int threads);

  /// Returns the time that threads have spent asleep here while others had not arrived yet, added up over the threads.
  Duration sleep_time() const { return all_arrived_.sleep_time(); }

 private:
  alignas(64) std::atomic<int> arrived_{0};
  Event all_arrived_;
  ThreadPlacement* const placement_;
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
    const int64_t lines = divide_up(extent, kLineFloats);
    const int64_t begin = divide_up(lines * index, threads) * kLineFloats;
    const int64_t end = divide_up(lines * (index + 1), threads) * kLineFloats;
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

/// Calls `work` on each thread of a team of `threads` threads, or of fewer if the system gives no more. The team is
/// that of the calling thread, which takes part as thread 0. Returns, when all calls have returned, the time that the
/// threads slept in barriers. `work` must not throw, and must not call this function.
Duration run_team(int threads, const std::function<void(const Worker&)>& work);

/// Returns how many threads this process may use: as many as OpenMP says (OMP_NUM_THREADS, OMP_THREAD_LIMIT, or what
/// another library has set), but no more than the affinity mask of the calling thread has cores.
int available_threads();

/// Returns false if the engine was built without OpenMP, and so without threads.
bool has_openmp();

/// Makes fork() safe: the child starts without a team and forms its own. Called once, at import.
void install_fork_handler();

}  // namespace engine::cpu
