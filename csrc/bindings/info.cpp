// What was built, what this machine runs, and how many threads.
#include <pybind11/stl.h>

#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/register.h"
#include "cpu/device.h"
#include "cpu/dispatch.h"
#include "cpu/thread_pool.h"
#include "cuda/device.h"
#include "runtime/fork.h"

namespace engine::bindings {
namespace {

py::dict build_info() {
  py::dict info;
  info["version"] = ENGINE_VERSION;
#ifdef __clang__
  info["compiler"] = "Clang " __clang_version__;
#else
  info["compiler"] = "GCC " __VERSION__;
#endif
  info["isa"] = cpu::kernels().isa;
  info["isas"] = cpu::compiled_isas();
  info["runnable"] = cpu::runnable_isas();
  info["openmp"] = cpu::has_openmp();
  info["threads"] = cpu::device().threads();
  info["cuda"] = cuda_state();
  return info;
}

int known_threads(int n) {
  if (n < 0 || n > cpu::kMaxThreads) {
    throw py::value_error("`n` must lie in 1 ... " + std::to_string(cpu::kMaxThreads) +
                          ", or be 0 for the machine's own number; got " + std::to_string(n));
  }
  return n;
}

int64_t first_nonfinite_row(const py::array& x) {
  const DatasetView rows = view_rows(x);
  const Unlocked unlocked;
  return cpu::first_nonfinite_row(rows);
}

}  // namespace

void register_info(py::module_& m) {
  m.def("build_info", &build_info);
  m.def("set_threads", [](int n) { cpu::set_threads(known_threads(n)); }, py::arg("n"));
  m.def("set_threads_here", [](int n) { return cpu::set_threads_here(known_threads(n)); }, py::arg("n"));
  m.def("get_threads", [] { return cpu::device().threads(); });
  // Whoever is changing weights may want the GIL before it ends.
  m.def("begin_fork", &begin_fork, py::call_guard<Unlocked>());
  m.def("end_fork", &end_fork);
  m.def("first_nonfinite_row", &first_nonfinite_row, py::arg("x"));
}

}  // namespace engine::bindings
