// Puts two threads on the same core and checks where cpu/thread_placement.h moves the second one.
#include "cpu/thread_placement.h"

#include <thread>

#include "check.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace engine::test {
namespace {

/// The exit status by which CTest knows a skipped test.
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

/// Moves the calling thread to a core. The thread stays there until the system has a reason to move it.
void go_to(int core, const cpu_set_t& afterwards) {
  const cpu_set_t there = only(core);
  sched_setaffinity(0, sizeof there, &there);
  sched_setaffinity(0, sizeof afterwards, &afterwards);
}

/// Starts a second thread on `core`, with the affinity mask `cores`, lets it claim a core, and returns the core on
/// which it runs then. Sets `same_cores` to whether its mask is the same afterwards.
int core_of_second_thread(ThreadPlacement& placement, int core, const cpu_set_t& cores, bool& same_cores) {
  int found = -1;
  std::thread([&] {
    go_to(core, cores);
    placement.claim_core();
    found = sched_getcpu();
    const cpu_set_t now = allowed();
    same_cores = CPU_EQUAL(&now, &cores);
    placement.release_core();
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
  ThreadPlacement placement;
  placement.claim_core();
  right &=
      check(core_of_second_thread(placement, core, cores, same_cores) != core, "a thread leaves a core that is taken");
  right &= check(same_cores, "the affinity mask of the thread is the same");
  right &= check(core_of_second_thread(placement, core, here, same_cores) == core, "a thread stays on its only core");
  right &= check(same_cores, "its affinity mask is the same");
  placement.release_core();
  right &= check(core_of_second_thread(placement, core, here, same_cores) == core, "a released core is free");
  return right ? 0 : 1;
}

#else

int run() { return kSkipped; }

#endif

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run(); }
