#include "bindings/gil.h"

#include <chrono>
#include <thread>

namespace engine::bindings {
namespace {

/// Calls a function of CPython, which throws nothing: what is caught is the thread's end.
template <class Call>
auto undisturbed(Call call) {
  try {
    return call();
  } catch (...) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

}  // namespace

Unlocked::Unlocked() : thread_(PyEval_SaveThread()) {}

Unlocked::~Unlocked() {
  undisturbed([this] { PyEval_RestoreThread(thread_); });
}

Locked::Locked() : state_(undisturbed([] { return PyGILState_Ensure(); })) {}

Locked::~Locked() { PyGILState_Release(state_); }

py::object ask(const py::object& callable, const py::object& argument) {
  PyObject* answer = undisturbed([&] { return PyObject_CallOneArg(callable.ptr(), argument.ptr()); });
  if (answer == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(answer);
}

}  // namespace engine::bindings
