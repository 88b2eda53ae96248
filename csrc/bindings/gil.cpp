#include "bindings/gil.h"

#include <chrono>
#include <exception>
#include <thread>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace engine::bindings {
namespace {

#ifdef __GLIBCXX__
using EndOfThread = abi::__forced_unwind;
#else
struct EndOfThread {};  // other libraries end a thread without unwinding
#endif

/// Calls a function of CPython. If it ends the thread, this waits for the end of the process.
///
/// An exception ends the process with its message, as it does without this library: it comes from an extension that
/// lets it out, and has skipped frames of CPython, which would go on with pointers to what they had on the stack.
template <class Call>
auto undisturbed(Call call) {
  try {
    return call();
  } catch (const EndOfThread&) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  } catch (...) {
    std::terminate();
  }
}

}  // namespace

Unlocked::Unlocked() : thread_(PyEval_SaveThread()) {}

Unlocked::~Unlocked() {
  undisturbed([this] { PyEval_RestoreThread(thread_); });
}

Locked::Locked() : state_(undisturbed([] { return PyGILState_Ensure(); })) {}

Locked::~Locked() { PyGILState_Release(state_); }

std::unique_lock<std::mutex> locked(std::mutex& mutex) {
  std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  if (!lock) {
    const Unlocked unlocked;
    lock.lock();
  }
  return lock;
}

py::object ask(const py::object& callable, const py::object& argument) {
  PyObject* answer = undisturbed([&] { return PyObject_CallOneArg(callable.ptr(), argument.ptr()); });
  if (answer == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(answer);
}

}  // namespace engine::bindings
