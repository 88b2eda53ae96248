// The interpreter's lock. A thread that wants it while the interpreter ends waits for the end of the process, as
// CPython has it from 3.14 on. Before, CPython unwinds such a thread, through destructors that end the process or touch
// Python's objects without the lock.
#pragma once
#include <pybind11/pybind11.h>

#include <mutex>

namespace engine::bindings {

namespace py = pybind11;

/// Other Python threads run from construction to destruction.
class Unlocked {
 public:
  Unlocked();
  ~Unlocked();
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* thread_;
};

/// Has the lock from construction to destruction, in any thread.
class Locked {
 public:
  Locked();
  ~Locked();
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  PyGILState_STATE state_;
};

/// Locks a mutex that threads may hold without the interpreter's lock. Others run only if this has to wait.
std::unique_lock<std::mutex> locked(std::mutex& mutex);

/// What code in Python, which may wait for the lock, answers.
py::object ask(const py::object& callable, const py::object& argument);

}  // namespace engine::bindings
