// How many threads are worth having while other programs want the cores as well.
#pragma once
#include <atomic>
#include <chrono>
#include <mutex>

namespace engine {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Duration = Clock::duration;

/// What the threads of a team got out of their cores, added up over the threads.
class Usage {
 public:
  /// The part of one thread: from construction to destruction.
  class Part {
   public:
    explicit Part(Usage& usage);
    ~Part();
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

   private:
    Usage& usage_;
    Time begin_;
    Duration used_;
  };

  Duration passed() const { return Duration(passed_.load(std::memory_order_relaxed)); }
  /// Of that, the time on a core.
  Duration used() const { return Duration(used_.load(std::memory_order_relaxed)); }

 private:
  std::atomic<Duration::rep> passed_{0}, used_{0};
};

/// Chooses the size of the next team, for all runs of the process. A thread without a core holds up its whole team at
/// every barrier, so that a team without it is faster; and as no bit of the weights depends on the number of threads,
/// a run may change its team from one batch to the next.
class Crowd {
 public:
  struct Team {
    int threads;
    Time until;  // when to ask again
  };
  /// The team for a run that would like to have `most` threads.
  Team next(int most);

  /// What a team of `threads` got. `slept`: the time that they waited for one another in barriers, asleep.
  void note(int threads, const Usage& usage, Duration slept);

 private:
  std::mutex mutex_;  // nobody waits for it: a child may be forked while another thread has it
  double passed_ = 0.0, used_ = 0.0, slept_ = 0.0;  // seconds of all threads since the last decision
  bool crowded_ = false;
  int limit_ = 0;  // while crowded
  Time until_{};
  Duration patience_{};
};

}  // namespace engine
