// Keeps the threads of a team on different cores. Does something on Linux only.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

namespace engine {

/// Linux sometimes wakes a thread on the core of the thread that wakes it, although another core is idle, and leaves
/// both there for up to 40 ms. On a virtual machine with two cores this happens after most pauses of 0.1 s. So the team
/// keeps a table of the cores that its threads run on. A thread that starts work, or waits for others, looks itself up
/// and moves to a free core if its present one is taken. One object serves one team.
class ThreadPlacement {
 public:
  /// Enters the core of the calling thread in the table. If another thread has entered it already, the calling thread
  /// first moves to a core that is free, if its affinity mask has one. The mask is the same afterwards.
  void claim_core();

  /// Removes the entry of the calling thread, which is about to sleep or has finished its work.
  void release_core();

 private:
  static constexpr int kBits = 64, kCores = 1024;  // threads on cores with larger numbers stay where they are

  bool try_claim(int core);
  bool move_to_free_core() const;

  std::array<std::atomic<uint64_t>, kCores / kBits> taken_ = {};  // one bit per core
};

}  // namespace engine
