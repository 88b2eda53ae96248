// Where weights lie: in one place, however many programs use them.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <vector>

#include "plan/arena.h"
#include "plan/fork.h"

namespace engine {

/// Weights in one piece, and the lock of all programs that use some of them. Whoever waits is seen by the writer, which
/// then ends its stretch of steps.
class Storage {
 public:
  explicit Storage(int64_t floats) : data_(floats) {}

  float* data() const { return data_.data(); }

  void lock();
  void unlock() { locks_.mutex.unlock(); }
  void lock_shared();
  void unlock_shared() { locks_.mutex.unlock_shared(); }
  bool awaited() const { return locks_.waiting.load(std::memory_order_relaxed) > 0; }

 private:
  struct Locks {
    std::mutex turnstile;  // std::shared_mutex may let readers pass a waiting writer for ever
    std::shared_mutex mutex;
    std::atomic<int> waiting{0};
  };

  Arena data_;
  Locks locks_;
  ChildReset reset_{&locks_, [](void* locks) { new (locks) Locks; }};
};

using Storages = std::vector<std::shared_ptr<Storage>>;

/// Holds the locks of all `storages`, which every thread takes in the same order: that of their addresses. One that
/// writes holds up fork() as well, so that whoever forks must have none.
class Hold {
 public:
  Hold(const Storages& storages, bool writes);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  const Storages& storages_;
  const bool writes_;
};

}  // namespace engine
