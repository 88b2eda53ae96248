// fork() beside other threads: the child has the memory of all of them, but only the thread that forked.
#pragma once
#include <mutex>

namespace engine {

/// Guards state that is read or changed within microseconds. fork() waits for it, so that a child finds it free, and
/// what it guards whole. Nobody who holds it may wait for another lock or free memory of a model.
std::mutex& short_lock();

/// Calls `reset(object)` in every forked child, from the end of its construction on. Make it the last member of a class
/// with locks that are held for long: `reset` makes them anew, since the threads that hold them are not in the child.
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

/// Whoever changes weights calls these before and after. A thread that is about to fork goes first.
void begin_write();
void end_write();

/// Waits until no thread is changing weights, and keeps all of them from it until `end_fork`. The child of a fork in
/// between has the weights of the last finished steps. The caller must not hold a lock that a thread which changes
/// weights may want.
void begin_fork();
void end_fork();

/// Whether somebody waits in `begin_fork`.
bool fork_awaited();

}  // namespace engine
