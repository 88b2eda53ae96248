#include "runtime/fork.h"

#include <atomic>
#include <condition_variable>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace engine {

/// The state behind all functions of this file. A process has one such object.
struct ForkState {
  std::mutex mutex;  // guards all members; this is the one that `short_lock` returns
  std::condition_variable changed;
  int writers = 0;            // how many threads are changing weights
  std::atomic<int> forks{0};  // how many threads of this process are between `begin_fork` and `end_fork`
  ChildReset* first = nullptr;

  ForkState() {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork([] { get().mutex.lock(); }, [] { get().mutex.unlock(); }, [] { get().start_over(); });
#endif
  }

  /// The object is never destroyed, since threads may still use it when the process destroys its static objects.
  static ForkState& get() {
    static auto& state = *new ForkState;
    return state;
  }

  /// Called in a child by its only thread, which has held `mutex` since before the fork. Objects that other threads
  /// held or waited for are constructed again in place, without a call of their destructors, which is undefined for
  /// them.
  void start_over() {
    new (&changed) std::condition_variable;
    writers = 0;
    forks = 0;
    for (ChildReset* each = first; each; each = each->next_) each->reset_(each->object_);
    mutex.unlock();
  }

  void add(ChildReset& reset) {
    const std::lock_guard<std::mutex> lock(mutex);
    reset.next_ = first;
    if (first) first->previous_ = &reset;
    first = &reset;
  }

  void remove(ChildReset& reset) {
    const std::lock_guard<std::mutex> lock(mutex);
    (reset.previous_ ? reset.previous_->next_ : first) = reset.next_;
    if (reset.next_) reset.next_->previous_ = reset.previous_;
  }
};

std::mutex& short_lock() { return ForkState::get().mutex; }

ChildReset::ChildReset(void* object, void (*reset)(void*)) : object_(object), reset_(reset) {
  ForkState::get().add(*this);
}

ChildReset::~ChildReset() { ForkState::get().remove(*this); }

void begin_write() {
  ForkState& state = ForkState::get();
  std::unique_lock<std::mutex> lock(state.mutex);
  state.changed.wait(lock, [&] { return state.forks == 0; });
  ++state.writers;
}

void end_write() {
  ForkState& state = ForkState::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (--state.writers == 0 && state.forks > 0) state.changed.notify_all();
}

void begin_fork() {
  ForkState& state = ForkState::get();
  std::unique_lock<std::mutex> lock(state.mutex);
  ++state.forks;
  state.changed.wait(lock, [&] { return state.writers == 0; });
}

void end_fork() {
  ForkState& state = ForkState::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  --state.forks;
  state.changed.notify_all();
}

bool fork_awaited() { return ForkState::get().forks.load(std::memory_order_relaxed) > 0; }

}  // namespace engine
