#include "cpu/crowd.h"

#include <time.h>

#include <algorithm>

namespace engine {
namespace {

using std::chrono::milliseconds;

/// How long a team works before it is looked at: a slice of Linux' scheduler, 3 ms, must not decide by itself.
constexpr milliseconds kWindow{5};
/// For how long a smaller team stays before the full one is tried again: at first, and, twice as long after every
/// failure, at last. Beside a process that stays, trying costs 5 ms of 320.
constexpr milliseconds kFirstPatience{10}, kLastPatience{320};

/// The team is too large if it went without so many cores ...
constexpr double kMissing = 0.15;
/// ... and used no more than this share of its time. A team that waits for one another because its work can't be
/// shared evenly does not go without cores.
constexpr double kWorthwhile = 0.7;

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

/// CPU time of this thread; where the system doesn't tell, all of the time.
Duration thread_time() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
#else
  return Clock::now().time_since_epoch();
#endif
}

}  // namespace

Usage::Part::Part(Usage& usage) : usage_(usage), begin_(Clock::now()), used_(thread_time()) {}

Usage::Part::~Part() {
  usage_.used_.fetch_add((thread_time() - used_).count(), std::memory_order_relaxed);
  usage_.passed_.fetch_add((Clock::now() - begin_).count(), std::memory_order_relaxed);
}

Crowd::Team Crowd::next(int most) {
  if (most == 1) return {1, Time::max()};
  const Time now = Clock::now();
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (lock && crowded_ && now < until_ && limit_ < most) return {limit_, until_};
  return {most, now + kWindow};
}

void Crowd::note(int threads, const Usage& usage, Duration slept) {
  if (threads == 1) return;
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock || (crowded_ && threads <= limit_)) return;
  passed_ += seconds(usage.passed());
  used_ += seconds(usage.used());
  slept_ += seconds(slept);
  // Short runs are looked at together.
  if (passed_ < threads * seconds(kWindow) / 2) return;
  const double missing = threads * (passed_ - used_ - slept_) / passed_;
  const bool too_large = missing > kMissing && used_ < kWorthwhile * passed_;
  passed_ = used_ = slept_ = 0.0;
  if (too_large) {
    patience_ = crowded_ ? std::min<Duration>(2 * patience_, kLastPatience) : kFirstPatience;
    limit_ = std::max(1, threads - std::max(1, static_cast<int>(missing + 0.5)));
    until_ = Clock::now() + patience_;
  }
  crowded_ = too_large;
}

}  // namespace engine
