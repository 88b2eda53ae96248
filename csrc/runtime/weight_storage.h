// The memory of weights, which several programs may share, and its locks.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "runtime/arena.h"
#include "runtime/fork.h"

namespace engine {

/// One block of weights, and the readers-writer lock for all programs that use some of them. A training that holds the
/// lock sees whether another thread waits for it, and then releases it at the end of a batch.
class WeightStorage {
 public:
  explicit WeightStorage(Arena data) : data_(std::move(data)) {}

  float* data() const { return data_.data(); }

  void lock();
  void unlock() { locks_.mutex.unlock(); }
  void lock_shared();
  void unlock_shared() { locks_.mutex.unlock_shared(); }
  /// Returns whether a thread is waiting for the lock.
  bool awaited() const { return locks_.waiting.load(std::memory_order_relaxed) > 0; }

 private:
  struct Locks {
    std::mutex turnstile;  // held while waiting: std::shared_mutex may let new readers in for ever while a writer waits
    std::shared_mutex mutex;
    std::atomic<int> waiting{0};
  };

  Arena data_;
  Locks locks_;
  ChildReset reset_{&locks_, [](void* locks) { new (locks) Locks; }};
};

using WeightStorages = std::vector<std::shared_ptr<WeightStorage>>;

/// Holds the locks of all `storages` while it lives. The list is sorted by address, so that all threads lock in the
/// same order. A `Hold` that writes makes `begin_fork` wait; a thread that calls it must not hold one.
class Hold {
 public:
  Hold(const WeightStorages& storages, bool writes);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  const WeightStorages& storages_;
  const bool writes_;
};

}  // namespace engine
