// Fibers: points of execution with stacks of their own, which hand the CPU to each other without the system's help.
#pragma once
#include <cstddef>

namespace emulated {

/// A fiber that does not run: its stack pointer, under which the registers lie that a function must preserve.
using Fiber = void*;

/// Saves the running fiber in `*from` and goes on with `to`.
void switch_fiber(Fiber* from, Fiber to);

/// The stacks of fibers, in one piece of memory.
class Stacks {
 public:
  ~Stacks();

  /// Makes room for `count` stacks. No fiber may be alive.
  void reserve(size_t count);

  /// Returns a fiber that calls `entry`, which must not return, on stack `i`.
  Fiber start(size_t i, void (*entry)()) const;

  /// Whether the fiber on stack `i` has used more than its stack.
  bool overflowed(size_t i) const;

  /// Gives most of the memory back to the system. No fiber may be alive.
  void shrink() const;

 private:
  void release();

  char* memory_ = nullptr;
  size_t count_ = 0;
};

}  // namespace emulated
