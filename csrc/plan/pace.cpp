#include "plan/pace.h"

#include <algorithm>

namespace engine {
namespace {

/// Seconds. Batches that take longer are left on as many threads as they have: what crosses between cores is little
/// of them, and a window has to be one at least.
constexpr double kLongBatch = 2e-3;

/// Batches of a rest, at least: a trial that fails at once takes the time of two more.
constexpr double kRestingBatches = 200.0;

/// Before the first trial, when caches fill and cores wake; then between trials, four times as long after each that
/// changed nothing. One that fails at once, the usual kind, costs 0.35 of 0.7 ms.
constexpr double kFirstRest = 1e-3, kPatience = 40e-3, kLastPatience = 640e-3;

/// A window: batches until a thread that was asleep is there, and the lines are where they are wanted, and then those
/// that are measured. Each side has so many of them, in turns, and the quickest counts: whatever else runs on the
/// machine makes batches slower, never quicker.
constexpr double kLeadIn = 0.2e-3, kMeasure = 0.5e-3;
constexpr int kWindows = 3;

/// A rival must take less than this part of the time, and has lost early where it takes so many times as long.
constexpr double kBetter = 0.95, kHopeless = 1.25;

}  // namespace

Pace::Stretch Pace::next(int most) {
  if (most != most_) {
    *this = Pace();
    most_ = kept_.threads = most;
    patience_ = kPatience;
    rest(kFirstRest);
  }
  const std::chrono::duration<double> left(std::max(length_ - passed_, 0.0));
  return {of_rival_ ? rival_.threads : kept_.threads, std::chrono::duration_cast<Duration>(left)};
}

void Pace::note(double batches, Duration passed) {
  batches_ += batches;
  passed_ += std::chrono::duration<double>(passed).count();
  if (passed_ < length_ || batches_ < 1.0) return;
  if (phase_ == Phase::kRest && batches_ < kRestingBatches) {
    length_ = passed_ * kRestingBatches / batches_;
    return;
  }
  if (phase_ == Phase::kMeasure) {
    end_window();
  } else if (phase_ == Phase::kLeadIn) {
    phase_ = Phase::kMeasure;
    length_ = kMeasure;
  } else if (!begin_trial()) {
    rest(kLastPatience);
  }
  batches_ = passed_ = 0.0;
}

/// Against half as many threads and twice as many by turns, where there are such.
bool Pace::begin_trial() {
  if (passed_ > kLongBatch * batches_) return false;
  if (kept_.threads == 1) fewer_ = false;
  if (kept_.threads == most_) fewer_ = true;
  rival_ = {fewer_ ? kept_.threads / 2 : std::min(2 * kept_.threads, most_)};
  if (rival_.threads == 0) return false;
  kept_ = {kept_.threads};
  windows_ = 0;
  of_rival_ = false;
  phase_ = Phase::kLeadIn;
  length_ = kLeadIn;
  return true;
}

void Pace::end_window() {
  Side& side = of_rival_ ? rival_ : kept_;
  side.quickest = std::min(side.quickest, passed_ / batches_);
  ++windows_;
  of_rival_ = !of_rival_;
  phase_ = Phase::kLeadIn;
  length_ = kLeadIn;
  if (windows_ % 2 != 0) return;
  const double ratio = rival_.quickest / kept_.quickest;
  if (ratio <= kHopeless && windows_ < 2 * kWindows) return;
  if (ratio < kBetter) {
    kept_.threads = rival_.threads;
    patience_ = kPatience;
    rest(kFirstRest);  // on in this direction
  } else {
    fewer_ = !fewer_;
    rest(patience_);
    patience_ = std::min(4 * patience_, kLastPatience);
  }
}

void Pace::rest(double seconds) {
  phase_ = Phase::kRest;
  length_ = seconds;
  of_rival_ = false;
}

}  // namespace engine
