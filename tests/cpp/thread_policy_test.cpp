// Gives invented times to the policy of cpu/thread_policy.h and checks the numbers of threads that it chooses.
#include "cpu/thread_policy.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "check.h"

namespace engine::test {
namespace {

using namespace cpu;

using Seconds = std::chrono::duration<double>;
using Time = ThreadPolicy::Time;
using Duration = ThreadPolicy::Duration;
using Stretch = ThreadPolicy::Stretch;
using Evidence = ThreadPolicy::Evidence;

constexpr double kMillisecond = 1e-3;

Duration duration(double seconds) { return std::chrono::duration_cast<Duration>(Seconds(seconds)); }

/// Returns the evidence of threads that ran all the time.
Evidence busy(double batches, double wall, int threads) {
  return {batches, duration(wall), duration(wall * threads), duration(wall * threads), Duration::zero()};
}

/// Returns the evidence of threads that ran and slept for the fractions `ran` and `slept` of the time.
Evidence partly_busy(double batches, double wall, int threads, double ran, double slept) {
  const double thread_time = wall * threads;
  return {batches, duration(wall), duration(thread_time), duration(thread_time * ran), duration(thread_time * slept)};
}

/// A simulated machine with its own clock, which runs batches on the numbers of threads that the policy chooses.
class Machine {
 public:
  explicit Machine(std::function<double(int)> batch_seconds) : batch_seconds_(std::move(batch_seconds)) {}

  int missing = 0;  // how many of the cores that `most` threads need other processes use

  /// Runs batches for `seconds` and returns the seconds that ran on each number of threads.
  std::map<int, double> run(int most, double seconds) {
    std::map<int, double> spent;
    for (double end = now_ + seconds; now_ < end;) {
      const Stretch stretch = policy.next(most, time());
      const int lacking = std::max(0, stretch.threads - (most - missing));
      // A team that lacks a core is as slow as if two threads took turns on one.
      const double each = batch_seconds_(stretch.threads) * (lacking > 0 ? 2.0 : 1.0);
      const double batches = std::max(1.0, std::ceil(Seconds(stretch.length).count() / each - 1e-9));
      now_ += batches * each;
      policy.note(lacking > 0 ? partly_busy(batches, batches * each, stretch.threads, 0.5, 0.0)
                              : busy(batches, batches * each, stretch.threads),
                  time());
      spent[stretch.threads] += batches * each;
      stretches.push_back(stretch);
    }
    return spent;
  }

  void pause(double seconds) { now_ += seconds; }

  ThreadPolicy policy;
  std::vector<Stretch> stretches;

 private:
  Time time() const { return Time(duration(now_)); }

  std::function<double(int)> batch_seconds_;
  double now_ = 1.0;
};

/// Returns the seconds of a batch by number of threads, from microseconds on one thread and on two.
std::function<double(int)> takes(double one, double two) {
  return [=](int threads) { return 1e-6 * (threads == 1 ? one : two); };
}

std::map<int, double> spend(int most, double seconds, const std::function<double(int)>& batch_seconds) {
  return Machine(batch_seconds).run(most, seconds);
}

bool trials() {
  bool right = true;
  Machine changing(takes(14, 26));
  right &= check(changing.run(2, 1.0).at(1) > 0.98, "one thread where two are slower");
  Machine other(takes(14, 8));
  other.policy = changing.policy;
  right &= check(other.run(2, 4.0).at(2) > 3.0, "two again once they are faster");
  right &= check(spend(2, 1.0, takes(80, 45)).at(2) > 0.99, "a trial that fails costs little");
  right &= check(spend(2, 1.0, takes(400, 200)).at(2) > 0.98, "nor does one of longer batches");
  right &= check(spend(2, 1.0, takes(30, 30.5)).at(2) > 0.95, "no change for less than it may be by chance");
  right &= check(spend(2, 1.0, takes(250, 1200)).at(1) > 0.7, "one thread for longer batches, after some of them");
  right &= check(spend(2, 4.0, takes(10000, 5000)).count(1) == 0, "long batches are not tried");
  const auto of_eight = spend(8, 1.0, [](int threads) { return 20e-6 / threads + 3e-6 * threads; });
  right &= check(of_eight.at(2) > 0.95, "two of eight");
  auto of_six = spend(6, 1.0, [](int threads) { return 20e-6 / threads + 1e-6 * threads; });
  right &= check(of_six[6] + of_six[3] > 0.95, "six, or half of six");
  const auto of_one = spend(1, 0.1, [](int) { return 10e-6; });
  right &= check(of_one.size() == 1 && of_one.count(1) == 1, "one of one");
  Machine fewer([](int threads) { return 10e-6 * threads; });
  fewer.run(4, 0.1);
  right &= check(fewer.policy.next(2, Time{}).threads == 2, "another number of cores: from the beginning");
  return right;
}

/// Returns the number of threads after one check in which the threads ran and slept for these fractions of the time.
int threads_after(int most, double ran, double slept) {
  ThreadPolicy policy;
  policy.next(most, Time{});
  const double wall = 6 * kMillisecond;
  const Time now{duration(wall)};
  policy.note(partly_busy(0.5, wall, most, ran, slept), now);
  return policy.next(most, now).threads;
}

bool missing_cores() {
  bool right = true;
  right &= check(threads_after(2, 1.0, 0.0) == 2, "no core is missing");
  right &= check(threads_after(2, 0.5, 0.0) == 1, "two threads take turns on one core");
  right &= check(threads_after(2, 0.5, 0.5) == 2, "a thread that sleeps in a barrier does not lack a core");
  right &= check(threads_after(2, 0.5, 0.43) == 2, "less than 0.15 of a core is missing");
  right &= check(threads_after(2, 0.5, 0.42) == 1, "more than 0.15 of a core is missing");
  right &= check(threads_after(4, 0.71, 0.0) == 4, "threads that ran for more than 0.7 of the time are busy");
  right &= check(threads_after(4, 0.69, 0.0) == 3, "threads that ran for less are not");
  right &= check(threads_after(8, 0.6, 0.1) == 6, "2.4 of 8 cores are missing");
  right &= check(threads_after(8, 0.6, 0.075) == 5, "2.6 of 8 cores are missing");
  right &= check(threads_after(3, 0.0, 0.0) == 1, "one thread is left if all cores are missing");
  right &= check(threads_after(1, 0.0, 0.0) == 1, "one thread stays one");
  return right;
}

bool reaction() {
  bool right = true;
  Machine machine(takes(10000, 5000));
  machine.run(2, 0.1);
  machine.missing = 1;
  right &= check(machine.run(2, 0.1).at(2) < 0.05, "fewer threads soon after a core is taken");
  const auto later = (machine.run(2, 1.0), machine.run(2, 4.0));
  right &= check(later.at(1) > 3.8, "attempts become rare while the core stays taken");
  right &= check(later.count(2) == 1, "but do not stop");
  machine.missing = 0;
  machine.run(2, 0.33);
  right &= check(machine.run(2, 1.0).count(1) == 0, "all threads again once the core is free");
  return right;
}

/// Returns the times from each reduction to the next attempt with all threads, while a core is used by others.
bool retry_delays() {
  ThreadPolicy policy;
  Time now{duration(1.0)};
  const auto fail = [&] {
    policy.next(2, now);
    now += duration(5 * kMillisecond);
    policy.note(partly_busy(0.5, 5 * kMillisecond, 2, 0.5, 0.0), now);
    return policy.next(2, now);
  };
  bool right = true;
  for (const int milliseconds : {10, 20, 40, 80, 160, 320, 320}) {
    const Stretch reduced = fail();
    right &= reduced.threads == 1 && reduced.length == duration(milliseconds * kMillisecond);
    right &= policy.next(2, now + reduced.length - duration(1e-6)).threads == 1;
    now += reduced.length;
    right &= policy.next(2, now).threads == 2;
  }
  right = check(right, "the delay doubles from 10 to 320 ms");
  now += duration(5 * kMillisecond);
  policy.note(busy(0.5, 5 * kMillisecond, 2), now);
  right &= check(fail().length == duration(10 * kMillisecond), "and is short again after a check that found all cores");
  now += duration(1.0);
  right &= check(policy.next(2, now).threads == 2, "a pause of the run counts");
  return right;
}

bool short_stretches() {
  bool right = true;
  ThreadPolicy policy;
  Time now{};
  int runs = 0;
  while (policy.next(2, now).threads == 2 && runs < 1000) {
    now += duration(0.1 * kMillisecond);
    policy.note(partly_busy(0.5, 0.1 * kMillisecond, 2, 0.5, 0.0), now);
    ++runs;
  }
  right &= check(runs == 50 || runs == 51, "short runs are checked together");
  const Stretch reduced = policy.next(2, now);
  policy.note(partly_busy(1e6, 1.0, 1, 0.0, 0.0), now);
  right &= check(policy.next(2, now).threads == reduced.threads, "the reduced number is not checked");
  right &= check(policy.next(4, now).threads == 4, "another number of cores ends the reduction");

  ThreadPolicy fresh;
  for (int i = 0; i < 1000; ++i) {
    const Stretch stretch = fresh.next(2, now);
    right &= stretch.threads == 2 && stretch.length >= Duration::zero();
    fresh.note({0.0, Duration::zero(), Duration::zero(), Duration::zero(), Duration::zero()}, now);
  }
  for (int i = 0; i < 1000; ++i) {  // none of these stretches finishes a batch
    const Stretch stretch = fresh.next(2, now);
    right &= stretch.threads == 2 && stretch.length >= Duration::zero();
    fresh.note({0.0, duration(kMillisecond), Duration::zero(), Duration::zero(), Duration::zero()}, now);
  }
  right = check(right, "empty evidence changes nothing");
  return right;
}

bool both() {
  bool right = true;
  Machine small(takes(14, 26));
  small.missing = 1;
  right &= check(small.run(2, 1.0).at(1) > 0.97, "small batches while a core is taken: one thread");
  Machine large(takes(40, 22));
  large.missing = 1;
  right &= check(large.run(2, 2.0).at(1) > 1.7, "one thread while a core is taken");
  large.missing = 0;
  large.run(2, 1.0);
  right &= check(large.run(2, 2.0).at(2) > 1.9, "two once it is free, with trials in between");
  for (Machine* machine : {&small, &large}) {
    for (const Stretch& stretch : machine->stretches) {
      right &= stretch.threads >= 1 && stretch.threads <= 2 && stretch.length >= Duration::zero();
    }
  }
  return check(right, "every stretch has a valid number of threads and length");
}

bool run() {
  bool right = trials();
  right &= missing_cores();
  right &= reaction();
  right &= retry_delays();
  right &= short_stretches();
  right &= both();
  return right;
}

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run() ? 0 : 1; }
