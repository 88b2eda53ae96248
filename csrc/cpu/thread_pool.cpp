#include "cpu/thread_pool.h"

#include <time.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "cpu/denormals.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace engine::cpu {
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

void Event::happen() {
  count_.store(count() + 1);
  if (sleepers_.load() == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  happened_ = Clock::now();
  woken_.notify_all();
}

void Event::wait(uint32_t seen, ThreadPlacement* placement) {
  for (int turn = 0; count_.load(std::memory_order_acquire) == seen; ++turn) {
    if (turn < kSpins) {
      relax();
    } else if (turn == kSpins) {
      if (placement) placement->claim_core();
    } else if (turn <= kSpins + kYields) {
      std::this_thread::yield();
    } else {
      return sleep(seen, placement);
    }
  }
}

void Event::sleep(uint32_t seen, ThreadPlacement* placement) {
  std::unique_lock<std::mutex> lock(mutex_);
  // Both atomics are sequentially consistent here: either `happen` sees that there is a sleeper, or the sleeper sees
  // the new count.
  sleepers_.fetch_add(1);
  if (placement) placement->release_core();
  const Clock::time_point begin = Clock::now();
  woken_.wait(lock, [&] { return count_.load() != seen; });
  sleepers_.fetch_sub(1);
  if (happened_ > begin) sleep_time_.fetch_add((happened_ - begin).count(), std::memory_order_relaxed);
  lock.unlock();
  if (placement) placement->claim_core();
}

void Barrier::wait(int threads) {
  const uint32_t seen = all_arrived_.count();
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < threads) return all_arrived_.wait(seen, placement_);
  arrived_.store(0, std::memory_order_relaxed);
  all_arrived_.happen();
}

namespace {

using Work = std::function<void(const Worker&)>;

/// The threads that help one calling thread. They are started when they are first needed, and then wait for work until
/// the calling thread ends.
///
/// They are not those of an OpenMP library. Such a library ends the process if it can't start a thread or has no memory
/// for it, and nothing can be tried out before: other processes may take the last thread that the system gives. A
/// thread that fails to start here only makes the team smaller.
class Team {
 public:
  /// Returns the team of the calling thread, which is made at the first call; null if there is no memory for it.
  static Team* of_this_thread();

  /// Called in a forked child, which has no helpers: forgets the team of the calling thread. It is not destroyed, which
  /// is undefined for objects that threads wait for.
  static void forget() { mine_ = nullptr; }

  /// See `run_team`.
  Duration run(int threads, const Work& work);

 private:
  /// What the calling thread tells one helper.
  struct Order {
    Event given;
    const Work* work = nullptr;  // null: to end
    Barrier* barrier = nullptr;
    int threads = 0;
  };

  /// Starts helpers until there are `threads` threads with the calling one, or the system gives no more. Returns how
  /// many of `threads` there are.
  int start(int threads);

  /// What a helper does all its life.
  void help(Order& order, int index);

  /// Makes all helpers end. They need not have ended when it returns: on Windows, nobody may wait for a thread while
  /// another one ends.
  void dismiss();

  static thread_local Team* mine_;  // a plain pointer, so that it is valid even while the thread ends
  std::shared_ptr<Team> self_;  // each helper has another; null after `dismiss`, so that the last helper ends the team
  std::deque<Order> orders_;    // one for each helper; a deque leaves them where they are
  ThreadPlacement placement_;
  Barrier end_;
};

thread_local Team* Team::mine_ = nullptr;

Team* Team::of_this_thread() {
  struct EndOfThread {
    ~EndOfThread() {
      if (mine_) mine_->dismiss();
      mine_ = nullptr;
    }
  };
  if (mine_) return mine_;
  static thread_local const EndOfThread end;
  try {
    const auto team = std::make_shared<Team>();
    team->self_ = team;
    return mine_ = team.get();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

int Team::start(int threads) {
  try {
    while (static_cast<int>(orders_.size()) + 1 < threads) {
      orders_.emplace_back();
      try {
        std::thread([team = self_, &order = orders_.back(), index = static_cast<int>(orders_.size())] {
          team->help(order, index);
        }).detach();
      } catch (...) {
        orders_.pop_back();
        throw;
      }
    }
  } catch (const std::exception&) {  // no memory, or std::system_error: no more threads
    return static_cast<int>(orders_.size()) + 1;
  }
  return threads;
}

void Team::help(Order& order, int index) {
  const DenormalsAreZero guard;
  for (uint32_t given = 0;; ++given) {
    order.given.wait(given, nullptr);
    if (!order.work) return;
    placement_.claim_core();
    (*order.work)({index, order.threads, order.barrier});
    placement_.release_core();
    end_.wait(order.threads);
  }
}

Duration Team::run(int threads, const Work& work) {
  threads = start(threads);
  Barrier barrier(&placement_);
  placement_.claim_core();  // before the helpers do
  for (int i = 0; i + 1 < threads; ++i) {
    Order& order = orders_[static_cast<size_t>(i)];
    order.work = &work;
    order.barrier = &barrier;
    order.threads = threads;
    order.given.happen();
  }
  work({0, threads, &barrier});
  end_.wait(threads);
  placement_.release_core();
  return barrier.sleep_time();
}

void Team::dismiss() {
  const std::shared_ptr<Team> self = std::move(self_);
  for (Order& order : orders_) {
    order.work = nullptr;
    order.given.happen();
  }
}

}  // namespace

Duration run_team(int threads, const Work& work) {
  const DenormalsAreZero guard;
  Team* const team = threads > 1 ? Team::of_this_thread() : nullptr;
  if (team) return team->run(threads, work);
  Barrier barrier;
  work({0, 1, &barrier});
  return Duration::zero();
}

void install_fork_handler() {
#if defined(__unix__) || defined(__APPLE__)
  pthread_atfork(nullptr, nullptr, Team::forget);
#endif
}

#ifdef _OPENMP

int available_threads() { return std::min({omp_get_max_threads(), omp_get_thread_limit(), omp_get_num_procs()}); }

bool has_openmp() { return true; }

#else

int available_threads() { return 1; }
bool has_openmp() { return false; }

#endif

}  // namespace engine::cpu
