// Gives plan/pace.h made-up times of batches and looks at the numbers of threads that it settles on.
#include "plan/pace.h"

#include <cstdio>
#include <functional>
#include <map>

namespace engine::test {
namespace {

using Seconds = std::chrono::duration<double>;
using Batch = std::function<double(int)>;  // threads -> seconds

/// Seconds spent on each number of threads while batches run for `seconds`.
std::map<int, double> spend(Pace& pace, int most, double seconds, const Batch& batch) {
  std::map<int, double> spent;
  for (double now = 0.0; now < seconds;) {
    const Pace::Stretch stretch = pace.next(most);
    const double each = batch(stretch.threads), length = Seconds(stretch.length).count();
    double passed = each;
    while (passed < length) passed += each;
    pace.note(passed / each, std::chrono::duration_cast<Pace::Duration>(Seconds(passed)));
    spent[stretch.threads] += passed;
    now += passed;
  }
  return spent;
}

bool check(bool right, const char* what) {
  std::printf("%-60s %s\n", what, right ? "ok" : "WRONG");
  return right;
}

bool run() {
  bool right = true;
  {
    Pace pace;
    const auto spent = spend(pace, 2, 1.0, [](int threads) { return threads == 1 ? 14e-6 : 26e-6; });
    right &= check(spent.at(1) > 0.98, "one thread where two are slower");
    const auto changed = spend(pace, 2, 4.0, [](int threads) { return threads == 1 ? 14e-6 : 8e-6; });
    right &= check(changed.at(2) > 3.0, "two again once they are quicker");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 2, 1.0, [](int threads) { return threads == 1 ? 80e-6 : 45e-6; });
    right &= check(spent.at(2) > 0.99, "a trial that fails costs little");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 2, 1.0, [](int threads) { return threads == 1 ? 30e-6 : 30.5e-6; });
    right &= check(spent.at(2) > 0.95, "no change for less than it may be by chance");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 2, 1.0, [](int threads) { return 400e-6 / threads; });
    right &= check(spent.at(2) > 0.98, "nor does one of longer batches");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 2, 1.0, [](int threads) { return threads == 1 ? 250e-6 : 1.2e-3; });
    right &= check(spent.at(1) > 0.7, "one thread for longer batches, too, after some of them");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 2, 4.0, [](int threads) { return 10e-3 / threads; });
    right &= check(spent.count(1) == 0, "long batches are not tried");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 8, 1.0, [](int threads) { return 20e-6 / threads + 3e-6 * threads; });
    right &= check(spent.at(2) > 0.95, "two of eight");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 6, 1.0, [](int threads) { return 20e-6 / threads + 1e-6 * threads; });
    right &= check(spent.at(6) + spent.at(3) > 0.95, "six, or half of six");
  }
  {
    Pace pace;
    const auto spent = spend(pace, 1, 0.1, [](int) { return 10e-6; });
    right &= check(spent.size() == 1 && spent.count(1) == 1, "one of one");
  }
  {
    Pace pace;
    spend(pace, 4, 0.1, [](int threads) { return 10e-6 * threads; });
    right &= check(pace.next(2).threads == 2, "another number of cores: from the beginning");
  }
  return right;
}

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run() ? 0 : 1; }
