// Makes fork() safe while other threads use the engine. The child process has a copy of all memory but only the thread
// that called fork(), so locks that other threads held would stay locked, and weights could be half changed.
#pragma once
#include <mutex>

namespace engine {

/// Returns the mutex for all state that is read or changed within microseconds. fork() waits for this mutex, so that it
/// is free in the child and the state that it guards is complete. A thread that holds it must not wait for another lock
/// and must not free memory of a model.
std::mutex& short_lock();

/// While it lives, calls `reset(object)` in every forked child. It is the last member of a class with locks that are
/// held for long. The threads that hold them do not exist in the child, so `reset` constructs the locks again.
class ChildReset {
 public:
  ChildReset(void* object, void (*reset)(void*));
  ~ChildReset();
  ChildReset(const ChildReset&) = delete;
  ChildReset& operator=(const ChildReset&) = delete;

 private:
  friend struct ForkState;

  void* object_;
  void (*reset_)(void*);
  ChildReset* previous_ = nullptr;
  ChildReset* next_ = nullptr;
};

/// A thread calls these before and after it changes weights. `begin_write` waits while another thread is between
/// `begin_fork` and `end_fork`.
void begin_write();
void end_write();

/// A thread calls these before and after fork(). `begin_fork` waits until no thread is changing weights, and none
/// starts to before `end_fork`, so that the child has the weights after whole steps. The caller must not hold a lock
/// that a thread needs which is changing weights.
void begin_fork();
void end_fork();

/// Returns whether a thread is waiting in `begin_fork`, or between `begin_fork` and `end_fork`.
bool fork_awaited();

}  // namespace engine
