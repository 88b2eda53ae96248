#include "cpu/thread_placement.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace engine {

#ifdef __linux__

namespace {

constexpr int kNone = -1;
/// The core that this thread has entered in the table of its team.
thread_local int claimed = kNone;

}  // namespace

void ThreadPlacement::claim_core() {
  constexpr int kTries = 4;  // other threads may move to the same core at the same time
  for (int i = 0; i < kTries; ++i) {
    const int core = sched_getcpu();
    if (core == claimed) return;
    release_core();
    if (try_claim(core) || !move_to_free_core()) return;
  }
}

void ThreadPlacement::release_core() {
  if (claimed == kNone) return;
  taken_[claimed / kBits].fetch_and(~(uint64_t{1} << claimed % kBits), std::memory_order_relaxed);
  claimed = kNone;
}

/// Returns false if another thread has entered the core.
bool ThreadPlacement::try_claim(int core) {
  if (core < 0 || core >= kCores) return true;
  const uint64_t bit = uint64_t{1} << core % kBits;
  if (taken_[core / kBits].fetch_or(bit, std::memory_order_relaxed) & bit) return false;
  claimed = core;
  return true;
}

/// Excludes the taken cores from the affinity mask, which makes the system move the thread, and restores the mask.
/// Returns false if no core is free.
bool ThreadPlacement::move_to_free_core() const {
  cpu_set_t allowed, free;
  static_assert(CPU_SETSIZE <= kCores);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  CPU_ZERO(&free);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    const bool taken = taken_[core / kBits].load(std::memory_order_relaxed) >> core % kBits & 1;
    if (!taken && CPU_ISSET(core, &allowed)) CPU_SET(core, &free);
  }
  if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) return false;
  sched_setaffinity(0, sizeof allowed, &allowed);
  return true;
}

#else

void ThreadPlacement::claim_core() {}
void ThreadPlacement::release_core() {}

#endif

}  // namespace engine
