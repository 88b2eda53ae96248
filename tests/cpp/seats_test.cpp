// Puts threads on the same core and looks where `cpu/seats.h` has them go.
#include "cpu/seats.h"

#include <thread>

#include "check.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace engine::test {
namespace {

/// As CTest is told.
constexpr int kSkipped = 77;

#ifdef __linux__

cpu_set_t allowed() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  sched_getaffinity(0, sizeof cores, &cores);
  return cores;
}

cpu_set_t only(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  return cores;
}

/// To the core, where the system leaves this thread until it sees a reason to move it.
void go_to(int core, const cpu_set_t& afterwards) {
  const cpu_set_t there = only(core);
  sched_setaffinity(0, sizeof there, &there);
  sched_setaffinity(0, sizeof afterwards, &afterwards);
}

/// Where a second thread is after it has taken a seat, if it may have `cores` and comes to `core`.
int second(Seats& seats, int core, const cpu_set_t& cores, bool& same_cores) {
  int found = -1;
  std::thread([&] {
    go_to(core, cores);
    seats.take();
    found = sched_getcpu();
    const cpu_set_t now = allowed();
    same_cores = CPU_EQUAL(&now, &cores);
    seats.leave();
  }).join();
  return found;
}

int run() {
  const cpu_set_t cores = allowed();
  if (CPU_COUNT(&cores) < 2) return kSkipped;
  int core = 0;
  while (!CPU_ISSET(core, &cores)) ++core;
  const cpu_set_t here = only(core);
  sched_setaffinity(0, sizeof here, &here);
  bool right = true, same_cores = false;
  Seats seats;
  seats.take();
  right &= check(second(seats, core, cores, same_cores) != core, "a core that is taken is left");
  right &= check(same_cores, "the thread may have the cores that it had");
  right &= check(second(seats, core, here, same_cores) == core, "no core but one that it may have");
  right &= check(same_cores, "the thread may have the one that it had");
  seats.leave();
  right &= check(second(seats, core, here, same_cores) == core, "a core that was left is free");
  return right ? 0 : 1;
}

#else

int run() { return kSkipped; }

#endif

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run(); }
