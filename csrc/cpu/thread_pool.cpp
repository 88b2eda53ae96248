#include "cpu/thread_pool.h"

#include <time.h>

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

/// How often a waiting thread spins: less than 1 us in all. It then yields, which costs no more than spinning if no
/// other process wants the core. Two engines on two cores took 0.17 to 0.19 s per epoch each with 10 to 40 spins, 0.23
/// with 400 and 0.39 with 2,000; one engine alone took 0.080.
constexpr int kSpins = 16;
/// How often it yields, which takes about 50 us, before it sleeps and leaves its core to the thread that it waits for.
/// Beside a busy process, two threads that never sleep take 0.47 s per epoch, and 0.17 with this number; alone they
/// take 0.055. With 10 yields the busy process does less harm (0.14), but threads sleep in ordinary waits. With none,
/// Linux sometimes keeps both threads on one core, where they wake each other for ever.
constexpr int kYields = 100;

#ifdef KMP_VERSION_MAJOR
constexpr int kIdleMilliseconds = 1;
#endif

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/// Returns the CPU time of the calling thread; the wall time if the system does not tell.
Duration cpu_time_of_this_thread() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
#else
  return Clock::now().time_since_epoch();
#endif
}

}  // namespace

TeamTimes::Timer::Timer(TeamTimes& times)
    : times_(times), begin_(Clock::now()), cpu_begin_(cpu_time_of_this_thread()) {}

TeamTimes::Timer::~Timer() {
  times_.cpu_time_.fetch_add((cpu_time_of_this_thread() - cpu_begin_).count(), std::memory_order_relaxed);
  times_.thread_time_.fetch_add((Clock::now() - begin_).count(), std::memory_order_relaxed);
}

void Barrier::wait(int threads) {
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1);
    if (sleepers_.load() > 0) {
      placement_.claim_core();
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
      placement_.claim_core();
    } else if (turn <= kSpins + kYields) {
      std::this_thread::yield();
    } else {
      return sleep(generation);
    }
  }
}

void Barrier::sleep(uint32_t generation) {
  std::unique_lock<std::mutex> lock(mutex_);
  // Both atomics are sequentially consistent here: either the last thread to arrive sees that there is a sleeper, or
  // the sleeper sees the new generation.
  sleepers_.fetch_add(1);
  placement_.release_core();
  const Clock::time_point begin = Clock::now();
  woken_.wait(lock, [&] { return generation_.load() != generation; });
  sleepers_.fetch_sub(1);
  if (released_ > begin) sleep_time_.fetch_add((released_ - begin).count(), std::memory_order_relaxed);
  lock.unlock();
  placement_.claim_core();
}

#ifdef _OPENMP

namespace {

/// How many threads the team has that OpenMP keeps for the calling thread, including this thread.
thread_local int kept = 1;

/// Upper bounds for what OpenMP allocates for a team: once, and for each thread.
constexpr size_t kTeamBytes = 1 << 14, kThreadBytes = 1 << 12;

bool has_memory_for(int threads) {
  void* const p = std::malloc(kTeamBytes + static_cast<size_t>(threads) * kThreadBytes);
  std::free(p);
  return p != nullptr;
}

/// Finds out how many threads the system gives, by starting them. They end with this object.
class ProbeThreads {
 public:
  /// Starts up to `wanted` threads, each of which waits until all are started.
  explicit ProbeThreads(int wanted) : ids_(static_cast<size_t>(wanted)) {
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
  ~ProbeThreads() {
    for (size_t i = 0; i < threads_.size(); ++i) {
      threads_[i].join();
#ifdef __linux__
      // The thread counts against the limits of users and containers until the kernel has removed it, which is after
      // the join.
      for (int turn = 0; turn < kMostTurns && syscall(SYS_tgkill, getpid(), ids_[i], 0) == 0; ++turn) {
        std::this_thread::yield();
      }
#endif
    }
  }
  ProbeThreads(const ProbeThreads&) = delete;
  ProbeThreads& operator=(const ProbeThreads&) = delete;

  int started() const { return static_cast<int>(threads_.size()); }

 private:
  static constexpr int kMostTurns = 10'000;  // a new thread may have the same number by now

  std::mutex gate_;
  std::vector<long> ids_;
  std::vector<std::thread> threads_;
};

/// Returns how many of `threads` threads a team can have now. OpenMP ends the process if it can't start a thread or has
/// no memory for it. So whenever OpenMP has to change its team, both are tried before.
int obtainable(int threads) {
  if (threads == kept) return threads;
  try {
    if (threads > kept) threads = kept + ProbeThreads(threads - kept).started();
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
  // By default, idle threads of LLVM's OpenMP spin for 200 ms after a region; those of GCC's stop much sooner.
  kmp_set_blocktime(kIdleMilliseconds);
#endif
  kept = threads;
  barrier.begin_work();  // before the region, so that the threads that it wakes see the core of this one
#pragma omp parallel num_threads(threads)
  {
    const DenormalsAreZero guard;
    barrier.begin_work();
    work({omp_get_thread_num(), omp_get_num_threads(), &barrier});
    barrier.end_work();
  }
  return barrier.sleep_time();
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
