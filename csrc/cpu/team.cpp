#include "cpu/team.h"

#include <thread>

#include "cpu/denormals.h"

#ifdef _OPENMP
#include <omp.h>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
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

Duration run_team(int threads, const std::function<void(const Worker&)>& work) {
  Barrier barrier;
  if (threads == 1) {
    const DenormalsAreZero guard;
    work({0, 1, &barrier});
    return Duration::zero();
  }
#ifdef KMP_VERSION_MAJOR
  // LLVM's idle threads spin for 200 ms after a region; GCC's give up much sooner.
  kmp_set_blocktime(kIdleMilliseconds);
#endif
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
  pthread_atfork([] { omp_pause_resource_all(omp_pause_soft); }, nullptr, nullptr);
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
