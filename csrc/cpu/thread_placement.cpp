#include "cpu/thread_placement.h"

#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace engine::cpu {

#ifdef __linux__

namespace {

/// The core that this thread, which is not a leader, has entered in the table of its team; negative: none.
thread_local int claimed = -1;

}  // namespace

ThreadPlacement::ThreadPlacement() : leader_number_(static_cast<int>(syscall(SYS_gettid))) {}

void ThreadPlacement::claim_core() {
  if (leads()) return leader_core_.store(sched_getcpu(), std::memory_order_relaxed);
  constexpr int kTries = 4;  // other threads may move to the same core at the same time
  for (int i = 0; i < kTries; ++i) {
    const int core = sched_getcpu();
    if (core == claimed && core != leader_core_.load(std::memory_order_relaxed)) return;
    release_core();
    if (try_claim(core) || !move_to_free_core()) return;
  }
}

void ThreadPlacement::release_core() {
  if (leads()) return leader_core_.store(kNone, std::memory_order_relaxed);
  if (claimed == kNone) return;
  taken_[claimed / kBits].fetch_and(~(uint64_t{1} << claimed % kBits), std::memory_order_relaxed);
  claimed = kNone;
}

/// Returns false if another thread has entered the core.
bool ThreadPlacement::try_claim(int core) {
  if (core < 0 || core >= kCores) return true;
  if (core == leader_core_.load(std::memory_order_relaxed)) return false;
  const uint64_t bit = uint64_t{1} << core % kBits;
  if (taken_[core / kBits].fetch_or(bit, std::memory_order_relaxed) & bit) return false;
  claimed = core;
  return true;
}

/// Excludes the taken cores from the affinity mask, which makes the system move the thread, and restores the mask.
/// Returns false if no core is free, or if others have given this thread a mask of its own.
bool ThreadPlacement::move_to_free_core() const {
  cpu_set_t own, leaders, free;
  static_assert(CPU_SETSIZE <= kCores);
  const auto read = [](int thread, cpu_set_t& mask) { return sched_getaffinity(thread, sizeof mask, &mask) == 0; };
  if (!read(0, own) || !read(leader_number_, leaders) || !CPU_EQUAL(&own, &leaders)) return false;
  CPU_ZERO(&free);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    const bool taken = taken_[core / kBits].load(std::memory_order_relaxed) >> core % kBits & 1;
    if (!taken && core != leader_core_.load(std::memory_order_relaxed) && CPU_ISSET(core, &own)) CPU_SET(core, &free);
  }
  if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) return false;
  // Whoever changes the mask of the leader now changes that of this thread afterwards, or sees to it that the masks
  // differ at the end of a turn.
  do {
    own = leaders;
  } while (sched_setaffinity(0, sizeof own, &own) == 0 && read(leader_number_, leaders) && !CPU_EQUAL(&own, &leaders));
  return true;
}

#else

ThreadPlacement::ThreadPlacement() : leader_number_(kNone) {}
void ThreadPlacement::claim_core() {}
void ThreadPlacement::release_core() {}

#endif

}  // namespace engine::cpu
