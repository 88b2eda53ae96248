// On which cores the threads of a team are.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

namespace engine {

/// Linux at times wakes a thread on the core of the one that wakes it, though another one is idle, and leaves both
/// there for up to 40 ms: on a virtual machine with two cores after most pauses of 0.1 s. So whoever begins or waits
/// looks where it is, and moves on if that core is taken. Elsewhere nothing happens.
class Seats {
 public:
  /// The seat of this thread is now the core that it is on, or one that is free, if there is any. Which cores it may
  /// have stays as it is.
  void take();
  void leave();

 private:
  static constexpr int kBits = 64, kCores = 1024;  // those with larger numbers are never taken

  bool claim(int core);
  bool move() const;

  std::array<std::atomic<uint64_t>, kCores / kBits> taken_ = {};
};

}  // namespace engine
