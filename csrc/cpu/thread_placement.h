// Keeps the threads of a team on different cores. Does something on Linux only.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

namespace engine::cpu {

/// Linux sometimes wakes a thread on the core of the thread that wakes it, although another core is idle, and leaves
/// both there for up to 40 ms. On a virtual machine with two cores this happens after most pauses of 0.1 s. So a team
/// keeps a table of the cores that its threads run on. A thread that starts work, or waits for others, looks itself up
/// and moves to a free core if its present one is taken. One object serves one team.
///
/// To move, a thread changes its affinity mask for a moment, which another process could do at the same time
/// (`taskset`). Its mask must not be lost:
///
/// - The thread that made the object, the leader, never moves. It enters its core even if that is taken, and the other
///   thread there moves.
/// - A thread whose mask is not that of the leader does not move.
/// - A thread that has moved takes the mask that the leader has then. A mask for all threads of a process reaches the
///   leader before the threads that it has started, so that each of them ends with it.
class ThreadPlacement {
 public:
  ThreadPlacement();

  /// Enters the core of the calling thread in the table. If another thread has entered it already, the calling thread
  /// first moves to a core that is free, if its affinity mask has one.
  void claim_core();

  /// Removes the entry of the calling thread, which is about to sleep or has finished its work.
  void release_core();

 private:
  static constexpr int kBits = 64, kCores = 1024;  // threads on cores with larger numbers stay where they are
  static constexpr int kNone = -1;

  bool leads() const { return std::this_thread::get_id() == leader_; }
  bool try_claim(int core);
  bool move_to_free_core() const;

  const std::thread::id leader_ = std::this_thread::get_id();
  const int leader_number_;                                       // by which the system knows it
  std::atomic<int> leader_core_{kNone};                           // the entry of the leader
  std::array<std::atomic<uint64_t>, kCores / kBits> taken_ = {};  // the entries of the others: one bit per core
};

}  // namespace engine::cpu
