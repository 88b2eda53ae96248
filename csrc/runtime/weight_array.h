// Weights: their memory, which several programs may use at the same time, and its locks.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <shared_mutex>
#include <vector>

#include "graph/variables.h"
#include "runtime/arena.h"
#include "runtime/device.h"
#include "runtime/fork.h"

namespace engine {

/// A readers-writer lock for weights. A training that holds it sees whether another thread waits for it, and then
/// releases it at the end of a batch.
class WeightLock {
 public:
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

  Locks locks_;
  ChildReset reset_{&locks_, [](void* locks) { new (locks) Locks; }};
};

/// Locks in the order in which every thread acquires them, each once.
using WeightLocks = std::vector<std::shared_ptr<WeightLock>>;

/// Sorts locks, some of which may be there several times.
WeightLocks in_order(WeightLocks locks);

/// Holds all `locks` while it lives. A `Hold` that writes makes `begin_fork` wait; a thread that calls it must not hold
/// one.
class Hold {
 public:
  Hold(const WeightLocks& locks, bool writes);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  const WeightLocks& locks_;
  const bool writes_;
};

/// The values of one variable. They lie as users see them, in row-major order, until a program uses them: then they are
/// where and as its device keeps them. While programs use them, they stay there.
class WeightArray {
 public:
  /// Other arrays may have the same `lock`.
  WeightArray(std::vector<int64_t> shape, const float* values, std::shared_ptr<WeightLock> lock);

  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t size() const;
  const std::shared_ptr<WeightLock>& lock() const { return lock_; }

  /// Copies all values in row-major order. The caller holds the lock, for reading or for writing.
  void read(float* values) const;
  void write(const float* values);

  /// The device of the programs that use the array; null if there are none.
  Device* device() const { return users_ > 0 ? device_.load() : nullptr; }
  /// Whether a program has needed the values, so that they are stored as devices do. Callers of the two hold the lock.
  bool is_stored() const { return stored_.has_value(); }
  /// Whether the user sees a matrix where programs see one row.
  bool is_flat() const { return stored_ && stored_->is_flat(); }

 private:
  friend class WeightUse;
  float* begin_use(Device& device, const Variable& variable);
  void store(Device& device, const Variable& variable);

  std::vector<int64_t> shape_;
  std::shared_ptr<WeightLock> lock_;
  Arena data_;
  std::atomic<Device*> device_{nullptr};
  std::optional<Variable> stored_;  // how the device stores the values
  std::atomic<int> users_{0};       // programs that use the array; rises only under the lock
};

/// A program's use of an array, as a variable of it.
class WeightUse {
 public:
  /// Takes the lock of the array. Throws std::invalid_argument where the array has another shape, or where other
  /// programs use it on another device or stored in another way.
  WeightUse(std::shared_ptr<WeightArray> array, Device& device, const Variable& variable);
  ~WeightUse();
  WeightUse(WeightUse&&) = default;
  WeightUse& operator=(WeightUse&&) = delete;

  const std::shared_ptr<WeightArray>& array() const { return array_; }
  float* data() const { return data_; }

 private:
  std::shared_ptr<WeightArray> array_;
  float* data_;
};

}  // namespace engine
