#include "cpu/thread_policy.h"

#include <algorithm>
#include <utility>

namespace engine::cpu {
namespace {

using std::chrono::milliseconds;

// ---- Missing cores ------------------------------------------------------------------------------------

/// Seconds of running batches for one check. Linux lets a process run for 3 ms before another one gets the core, and
/// the check must not depend on a single such interval. Checks after 2 ms mistook the wake-up of a thread for a missing
/// core.
constexpr double kCheck = 5e-3;

/// There are too many threads if the time that they neither ran nor slept in a barrier amounts to this many cores ...
constexpr double kMissingCores = 0.15;
/// ... and they ran for less than this part of the time. Threads that can't share their work evenly wait for one
/// another; that does not mean that they lack cores.
constexpr double kBusy = 0.7;

/// How long the reduced number of threads is used before the full number is tried again: at first, and, since each
/// failure doubles it, at most. Beside a process that keeps its core, the attempts take 5 ms of 320.
constexpr milliseconds kFirstRetryDelay{10}, kLastRetryDelay{320};

// ---- Trials -------------------------------------------------------------------------------------------

/// Seconds. Batches that take longer are not tried on other numbers of threads: transfers between cores are a small
/// part of them, and a window lasts one batch at least.
constexpr double kLongBatch = 2e-3;

/// Seconds before the first trial, while caches fill and threads wake up.
constexpr double kFirstTrialDelay = 1e-3;
/// Seconds between trials: at first, and, since each trial that changes nothing makes them four times as many, at most.
/// A trial takes 4.2 ms, and 1.4 ms if the other number is clearly slower, as it usually is; half of that time runs on
/// the present number.
constexpr double kTrialDelay = 40e-3, kLastTrialDelay = 640e-3;
/// Between trials there are this many batches at least. A trial of long batches that ends early costs the time of about
/// two batches.
constexpr double kBatchesBetweenTrials = 200.0;

/// Seconds of the two parts of a window.
constexpr double kSettleTime = 0.2e-3, kMeasureTime = 0.5e-3;
/// Each candidate runs in this many windows, in turn with the other one. Only its fastest window counts: whatever else
/// the machine does makes batches slower, never faster.
constexpr int kWindows = 3;

/// The other number is better if it takes less than this part of the present number's time.
constexpr double kBetter = 0.95;
/// The trial ends early if the other number takes this many times as long.
constexpr double kHopeless = 1.25;

double seconds(ThreadPolicy::Duration duration) { return std::chrono::duration<double>(duration).count(); }

ThreadPolicy::Duration duration(double seconds) {
  return std::chrono::duration_cast<ThreadPolicy::Duration>(std::chrono::duration<double>(std::max(seconds, 0.0)));
}

}  // namespace

ThreadPolicy::Stretch ThreadPolicy::next(int most, Time now) {
  if (most != most_) {
    *this = ThreadPolicy();
    most_ = best_ = most;
    trial_delay_ = kTrialDelay;
    enter(State::kSteady, kFirstTrialDelay);
  }
  if (state_ == State::kReduced && now >= retry_at_) state_ = State::kSteady;
  switch (state_) {
    case State::kReduced:
      return {reduced_, retry_at_ - now};
    case State::kSteady: {
      const double until_trial = length_ - seconds_, until_check = kCheck - check_.wall_time;
      return {best_, duration(best_ > 1 ? std::min(until_trial, until_check) : until_trial)};
    }
    default:
      return {runs_other_ ? other_.threads : present_.threads, duration(length_ - seconds_)};
  }
}

void ThreadPolicy::note(const Evidence& evidence, Time now) {
  if (state_ == State::kReduced) return;
  batches_ += evidence.batches;
  seconds_ += seconds(evidence.wall_time);
  const bool is_over = seconds_ >= length_ && batches_ >= 1.0;
  if (state_ == State::kSteady) {
    check_for_missing_cores(evidence, now);
    if (is_over && state_ == State::kSteady) wait_for_trial();
  } else if (is_over && state_ == State::kSettle) {
    enter(State::kMeasure, kMeasureTime);
  } else if (is_over) {
    end_window();
  }
}

/// Adds the evidence to that of earlier stretches, since stretches may be short, and decides when there is enough.
void ThreadPolicy::check_for_missing_cores(const Evidence& evidence, Time now) {
  if (best_ == 1) return;
  check_.wall_time += seconds(evidence.wall_time);
  check_.thread_time += seconds(evidence.thread_time);
  check_.cpu_time += seconds(evidence.cpu_time);
  check_.sleep_time += seconds(evidence.sleep_time);
  if (check_.wall_time < kCheck) return;
  const Check check = std::exchange(check_, {});
  const double idle_time = check.thread_time - check.cpu_time - check.sleep_time;
  const double missing_cores = check.thread_time > 0.0 ? best_ * idle_time / check.thread_time : 0.0;
  const bool is_missing = missing_cores > kMissingCores && check.cpu_time < kBusy * check.thread_time;
  if (!is_missing) {
    retry_delay_ = Duration::zero();
    return;
  }
  const bool failed_again = retry_delay_ > Duration::zero();
  retry_delay_ = failed_again ? std::min<Duration>(2 * retry_delay_, kLastRetryDelay) : Duration(kFirstRetryDelay);
  retry_at_ = now + retry_delay_;
  reduced_ = std::max(1, best_ - std::max(1, static_cast<int>(missing_cores + 0.5)));
  state_ = State::kReduced;
}

/// Begins a trial, unless there have been too few batches since the last one or a trial can't help.
void ThreadPolicy::wait_for_trial() {
  if (batches_ < kBatchesBetweenTrials) {
    length_ = seconds_ * kBatchesBetweenTrials / batches_;
  } else if (!begin_trial()) {
    enter(State::kSteady, kLastTrialDelay);
  }
}

/// Returns false if batches are long or there is no other number of threads.
bool ThreadPolicy::begin_trial() {
  if (seconds_ > kLongBatch * batches_) return false;
  if (best_ == 1) tries_fewer_ = false;
  if (best_ == most_) tries_fewer_ = true;
  other_ = {tries_fewer_ ? best_ / 2 : std::min(2 * best_, most_)};
  if (other_.threads == 0) return false;
  present_ = {best_};
  runs_other_ = false;
  windows_ = 0;
  enter(State::kSettle, kSettleTime);
  return true;
}

/// The candidates take turns, until each has had its windows or the other one is clearly slower.
void ThreadPolicy::end_window() {
  Candidate& candidate = runs_other_ ? other_ : present_;
  candidate.seconds = std::min(candidate.seconds, seconds_ / batches_);
  ++windows_;
  runs_other_ = !runs_other_;
  enter(State::kSettle, kSettleTime);
  if (windows_ % 2 != 0) return;
  const double ratio = other_.seconds / present_.seconds;
  if (windows_ == 2 * kWindows || ratio > kHopeless) end_trial(ratio < kBetter);
}

void ThreadPolicy::end_trial(bool found_better) {
  if (found_better) {
    best_ = other_.threads;
    trial_delay_ = kTrialDelay;
    check_ = {};
    enter(State::kSteady, kFirstTrialDelay);  // the next trial goes on in the same direction
  } else {
    tries_fewer_ = !tries_fewer_;
    enter(State::kSteady, trial_delay_);
    trial_delay_ = std::min(4 * trial_delay_, kLastTrialDelay);
  }
}

void ThreadPolicy::enter(State state, double seconds) {
  state_ = state;
  length_ = seconds;
  batches_ = seconds_ = 0.0;
}

}  // namespace engine::cpu
