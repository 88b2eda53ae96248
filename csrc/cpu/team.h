// Threads of one run: OpenMP forms the team, everything inside is ours.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "cpu/crowd.h"
#include "cpu/seats.h"
#include "kernels/layout.h"
#include "kernels/table.h"

namespace engine {

/// More than any one machine has cores for.
inline constexpr int kMostThreads = 1024;

/// Lets every thread of a team meet. Spins briefly, then gives the core away to whoever holds the others up, and sleeps
/// if that takes long.
class Barrier {
 public:
  void wait(int threads);
  /// What each thread calls before its work, and after it.
  void join() { seats_.take(); }
  void leave() { seats_.leave(); }
  /// Time that threads have spent asleep here.
  Duration slept() const { return Duration(slept_.load(std::memory_order_relaxed)); }

 private:
  void sleep(uint32_t generation);

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<Duration::rep> slept_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
  Time released_{};  // of the last generation that somebody slept through
  Seats seats_;
};

/// One thread's place in the team.
struct Worker {
  int index;
  int threads;
  Barrier* barrier;

  void meet() const {
    if (threads > 1) barrier->wait(threads);
  }

  /// This thread's part of `extent` items, in whole cache lines; early threads get the larger parts, so that a
  /// single line belongs to thread 0. Equal extents have equal owners, whatever they count.
  Range slice(int64_t extent) const {
    const int64_t lines = divide_up(extent, kLane);
    const int64_t begin = divide_up(lines * index, threads) * kLane;
    const int64_t end = divide_up(lines * (index + 1), threads) * kLane;
    return {begin < extent ? begin : extent, end < extent ? end : extent};
  }
};

/// Runs `work` on up to `threads` threads, fewer where the system gives no more, and returns when all are done: the
/// time that they slept in barriers. `work` must not throw.
Duration run_team(int threads, const std::function<void(const Worker&)>& work);

/// Threads that this process may use: OMP_NUM_THREADS, and no more than its affinity mask has.
int available_threads();

/// False where the build has no OpenMP.
bool has_openmp();

/// Makes fork() safe: the child starts without a team and forms its own. Called once, at import.
void install_fork_handler();

}  // namespace engine
