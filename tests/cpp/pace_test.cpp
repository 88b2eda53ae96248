// Gives plan/pace.h made-up times of batches and looks at the numbers of threads that it settles on.
#include "plan/pace.h"

#include <functional>
#include <map>

#include "check.h"

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

/// The same from the beginning.
std::map<int, double> spend(int most, double seconds, const Batch& batch) {
  Pace pace;
  return spend(pace, most, seconds, batch);
}

/// A batch that takes so many microseconds on one thread, and on two.
Batch takes(double one, double two) {
  return [=](int threads) { return 1e-6 * (threads == 1 ? one : two); };
}

bool run() {
  bool right = true;
  Pace changing;
  right &= check(spend(changing, 2, 1.0, takes(14, 26)).at(1) > 0.98, "one thread where two are slower");
  right &= check(spend(changing, 2, 4.0, takes(14, 8)).at(2) > 3.0, "two again once they are quicker");
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
  Pace fewer;
  spend(fewer, 4, 0.1, [](int threads) { return 10e-6 * threads; });
  right &= check(fewer.next(2).threads == 2, "another number of cores: from the beginning");
  return right;
}

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run() ? 0 : 1; }
