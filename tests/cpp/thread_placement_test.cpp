// Puts two threads on the same core and checks where cpu/thread_placement.h moves the second one, and which affinity
// masks the threads have if another process changes them meanwhile.
#include "cpu/thread_placement.h"

#include <thread>

#include "check.h"

#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace engine::test {
namespace {

using namespace cpu;

/// The exit status by which CTest knows a skipped test.
constexpr int kSkipped = 77;

#ifdef __linux__

int number_of_this_thread() { return static_cast<int>(syscall(SYS_gettid)); }

/// The functions of the C library of these names are replaced below, so these ask the system.
void set_mask(int thread, const cpu_set_t& cores) { syscall(SYS_sched_setaffinity, thread, sizeof cores, &cores); }

cpu_set_t mask_of(int thread) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  syscall(SYS_sched_getaffinity, thread, sizeof cores, &cores);
  return cores;
}

cpu_set_t only(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  return cores;
}

int first_of(const cpu_set_t& cores) {
  int core = 0;
  while (!CPU_ISSET(core, &cores)) ++core;
  return core;
}

/// What `taskset` does in another process: gives a mask to a leader, and then to a thread that it has started. It does
/// so at chosen moments, which are the calls of the second thread that read or change masks.
struct Taskset {
  cpu_set_t cores;
  int leader, other;                // the threads
  int leader_moment, other_moment;  // before so many calls; the second is not the smaller one
  int calls = 0;

  void before_call() {
    if (calls == leader_moment) set_mask(leader, cores);
    if (calls == other_moment) set_mask(other, cores);
    ++calls;
  }
  void finish() {
    if (leader_moment >= calls) set_mask(leader, cores);
    if (other_moment >= calls) set_mask(other, cores);
  }
};
Taskset* taskset = nullptr;

/// Moves the calling thread to a core. The thread stays there until the system has a reason to move it.
void go_to(int core, const cpu_set_t& afterwards) {
  set_mask(0, only(core));
  set_mask(0, afterwards);
}

/// What a second thread finds when it has claimed a core.
struct Found {
  int core;
  cpu_set_t mask;
};

/// Starts a second thread on `core`, with the affinity mask `cores`, and lets it claim a core.
Found claim_in_second_thread(ThreadPlacement& placement, int core, const cpu_set_t& cores,
                             Taskset* meanwhile = nullptr) {
  Found found{};
  std::thread([&] {
    go_to(core, cores);
    if (meanwhile) meanwhile->other = number_of_this_thread();
    taskset = meanwhile;
    placement.claim_core();
    taskset = nullptr;
    if (meanwhile) meanwhile->finish();
    found = {sched_getcpu(), mask_of(0)};
    placement.release_core();
  }).join();
  return found;
}

/// Returns whether both threads have the mask that `taskset` gave them, whenever it did so.
bool all_masks_of_others_last(ThreadPlacement& placement, int core, const cpu_set_t& cores) {
  constexpr int kMoments = 10;  // more than there are calls
  bool right = true;
  for (int second = 0; second < kMoments; ++second) {
    for (int first = 0; first <= second; ++first) {
      set_mask(0, cores);
      const cpu_set_t given = only(core);
      Taskset meanwhile{given, number_of_this_thread(), 0, first, second};
      const Found found = claim_in_second_thread(placement, core, cores, &meanwhile);
      const cpu_set_t own = mask_of(0);
      right &= CPU_EQUAL(&found.mask, &given) && CPU_EQUAL(&own, &given) && meanwhile.calls < kMoments;
    }
  }
  set_mask(0, cores);
  return right;
}

int run() {
  const cpu_set_t cores = mask_of(0);
  if (CPU_COUNT(&cores) < 2) return kSkipped;
  const int core = first_of(cores);
  const cpu_set_t here = only(core);
  bool right = true;
  ThreadPlacement placement;
  go_to(core, cores);
  placement.claim_core();
  Found found = claim_in_second_thread(placement, core, cores);
  right &= check(found.core != core, "a thread leaves the core of its leader");
  right &= check(CPU_EQUAL(&found.mask, &cores), "the affinity mask of the thread is the same");
  found = claim_in_second_thread(placement, core, here);
  right &= check(found.core == core && CPU_EQUAL(&found.mask, &here), "a thread with a mask of its own stays");
  set_mask(0, here);
  found = claim_in_second_thread(placement, core, here);
  right &= check(found.core == core && CPU_EQUAL(&found.mask, &here), "a thread stays on its only core");
  go_to(core, cores);
  right &= check(all_masks_of_others_last(placement, core, cores), "masks that others set meanwhile last");
  go_to(core, cores);
  placement.release_core();
  found = claim_in_second_thread(placement, core, here);
  right &= check(found.core == core, "a released core is free");
  return right ? 0 : 1;
}

#else

int run() { return kSkipped; }

#endif

}  // namespace
}  // namespace engine::test

#ifdef __linux__
extern "C" {

int sched_setaffinity(pid_t thread, size_t bytes, const cpu_set_t* cores) noexcept {
  if (engine::test::taskset) engine::test::taskset->before_call();
  return static_cast<int>(syscall(SYS_sched_setaffinity, thread, bytes, cores));
}

int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t* cores) noexcept {
  if (engine::test::taskset) engine::test::taskset->before_call();
  CPU_ZERO_S(bytes, cores);
  return syscall(SYS_sched_getaffinity, thread, bytes, cores) < 0 ? -1 : 0;
}
}
#endif

int main() { return engine::test::run(); }
