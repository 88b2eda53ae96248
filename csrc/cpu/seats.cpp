#include "cpu/seats.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace engine {

#ifdef __linux__

namespace {

constexpr int kNone = -1;
thread_local int seat = kNone;

}  // namespace

void Seats::take() {
  constexpr int kTries = 4;  // others may move at the same time
  for (int i = 0; i < kTries; ++i) {
    const int core = sched_getcpu();
    if (core == seat) return;
    leave();
    if (claim(core) || !move()) return;
  }
}

void Seats::leave() {
  if (seat == kNone) return;
  taken_[seat / kBits].fetch_and(~(uint64_t{1} << seat % kBits), std::memory_order_relaxed);
  seat = kNone;
}

/// False where another one has it.
bool Seats::claim(int core) {
  if (core < 0 || core >= kCores) return true;
  const uint64_t bit = uint64_t{1} << core % kBits;
  if (taken_[core / kBits].fetch_or(bit, std::memory_order_relaxed) & bit) return false;
  seat = core;
  return true;
}

/// False where none is free.
bool Seats::move() const {
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

void Seats::take() {}
void Seats::leave() {}

#endif

}  // namespace engine
