#include "cpu/team.h"

#include <cstdlib>
#include <exception>
#include <thread>
#include <vector>

#include "cpu/denormals.h"

#ifdef _OPENMP
#include <omp.h>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace engine {
namespace {

/// Under 1 us of pauses; a yield costs no more where nobody else wants the core. Two engines on two cores, against
/// 0.080 s per epoch alone: 0.17-0.19 s with 10 to 40 turns, 0.23 with 400, 0.39 with 2,000.
constexpr int kSpins = 16;
/// After some 50 us of yields the thread sleeps, and the one it waits for can have its core. Beside a busy process two
/// threads that never sleep take 0.47 s per epoch (alone 0.055), these 0.17. With 10 yields the busy process does less
/// harm (0.14); with none Linux at times keeps both threads on one core, where they wake one another for ever.
constexpr int kYields = 100;

#ifdef KMP_VERSION_MAJOR
constexpr int kIdleMilliseconds = 1;
#endif

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

void Barrier::wait(int threads) {
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1);
    if (sleepers_.load() > 0) {
      seats_.take();
      const std::lock_guard<std::mutex> lock(mutex_);
      released_ = Clock::now();
      woken_.notify_all();
    }
    return;
  }
  for (int turn = 0; generation_.load(std::memory_order_acquire) == generation; ++turn) {
    if (turn < kSpins) {
      relax();
    } else if (turn == kSpins) {
      seats_.take();
    } else if (turn <= kSpins + kYields) {
      std::this_thread::yield();
    } else {
      return sleep(generation);
    }
  }
}

void Barrier::sleep(uint32_t generation) {
  std::unique_lock<std::mutex> lock(mutex_);
  // Either the last to arrive sees the sleeper or the sleeper the new generation, as both are in one order for all.
  sleepers_.fetch_add(1);
  seats_.leave();
  const Time begin = Clock::now();
  woken_.wait(lock, [&] { return generation_.load() != generation; });
  sleepers_.fetch_sub(1);
  if (released_ > begin) slept_.fetch_add((released_ - begin).count(), std::memory_order_relaxed);
  lock.unlock();
  seats_.take();
}

#ifdef _OPENMP

namespace {

/// Threads of the team that OpenMP keeps for this thread, itself among them.
thread_local int kept = 1;

/// What OpenMP allocates for a team, rounded up: for itself, and by thread.
constexpr size_t kTeamBytes = 1 << 14, kThreadBytes = 1 << 12;

bool has_memory_for(int threads) {
  void* const p = std::malloc(kTeamBytes + static_cast<size_t>(threads) * kThreadBytes);
  std::free(p);
  return p != nullptr;
}

/// Threads that were started to see whether that is possible, and wait until they may end.
class Trial {
 public:
  /// Starts up to `wanted` threads.
  explicit Trial(int wanted) : ids_(static_cast<size_t>(wanted)) {
    const std::lock_guard<std::mutex> closed(gate_);
    threads_.reserve(ids_.size());
    try {
      for (long& id : ids_) {
        threads_.emplace_back([this, &id] {
#ifdef __linux__
          id = syscall(SYS_gettid);
#endif
          const std::lock_guard<std::mutex> open(gate_);
        });
      }
    } catch (const std::exception&) {  // no memory, or std::system_error: no more threads
    }
  }
  ~Trial() {
    for (size_t i = 0; i < threads_.size(); ++i) {
      threads_[i].join();
#ifdef __linux__
      // It counts against the limits of users and containers until the kernel has taken it down, after the join.
      for (int turn = 0; turn < kMostTurns && syscall(SYS_tgkill, getpid(), ids_[i], 0) == 0; ++turn) {
        std::this_thread::yield();
      }
#endif
    }
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  int started() const { return static_cast<int>(threads_.size()); }

 private:
  static constexpr int kMostTurns = 10'000;  // the number may be another thread's by now

  std::mutex gate_;
  std::vector<long> ids_;
  std::vector<std::thread> threads_;
};

/// How many of `threads` a team can have now. OpenMP ends the process where it gets no thread or no memory for it, so
/// that both are tried before, whenever it has to change its team.
int obtainable(int threads) {
  if (threads == kept) return threads;
  try {
    if (threads > kept) threads = kept + Trial(threads - kept).started();
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return has_memory_for(threads) ? threads : 1;
}

}  // namespace

Duration run_team(int threads, const std::function<void(const Worker&)>& work) {
  Barrier barrier;
  if (threads > 1) threads = obtainable(threads);
  if (threads == 1) {
    const DenormalsAreZero guard;
    work({0, 1, &barrier});
    return Duration::zero();
  }
#ifdef KMP_VERSION_MAJOR
  // LLVM's idle threads spin for 200 ms after a region; GCC's give up much sooner.
  kmp_set_blocktime(kIdleMilliseconds);
#endif
  kept = threads;
  barrier.join();  // so that those who are woken see where this thread is
#pragma omp parallel num_threads(threads)
  {
    const DenormalsAreZero guard;
    barrier.join();
    work({omp_get_thread_num(), omp_get_num_threads(), &barrier});
    barrier.leave();
  }
  return barrier.slept();
}

int available_threads() {
  const int limit = omp_get_max_threads(), cores = omp_get_num_procs();
  return limit < cores ? limit : cores;
}

bool has_openmp() { return true; }

void install_fork_handler() {
#if defined(__unix__) || defined(__APPLE__)
  // Without this the child waits for threads that it does not have.
  const auto prepare = [] {
    omp_pause_resource_all(omp_pause_soft);
    kept = 1;
  };
  pthread_atfork(prepare, nullptr, nullptr);
#endif
}

#else

Duration run_team(int, const std::function<void(const Worker&)>& work) {
  Barrier barrier;
  const DenormalsAreZero guard;
  work({0, 1, &barrier});
  return Duration::zero();
}

int available_threads() { return 1; }
bool has_openmp() { return false; }
void install_fork_handler() {}

#endif

}  // namespace engine
