// The function `matmul` of engine._core, with arguments for the instruction set and the number of threads.
#include <string>

#include "bindings/ops.h"
#include "cpu/dispatch.h"
#include "cpu/thread_pool.h"
#include "register.h"

namespace engine::bindings {
namespace {

py::object matmul(const py::object& a, const py::object& b, const py::object& bias, const py::object& activation,
                  const py::object& transpose_a, const py::object& transpose_b, const py::object& out,
                  const std::string& isa, int threads) {
  if (threads < 1 || threads > cpu::kMaxThreads) {
    throw py::value_error("`threads` must lie in 1 ... " + std::to_string(cpu::kMaxThreads) + "; got " +
                          std::to_string(threads));
  }
  PyObject* const arguments[] = {a.ptr(),           b.ptr(),           bias.ptr(), activation.ptr(),
                                 transpose_a.ptr(), transpose_b.ptr(), out.ptr()};
  return multiply_arrays(arguments, {&cpu::kernels_for(isa), threads});
}

}  // namespace

void register_products(py::module_& m) {
  m.def("matmul", &matmul, py::arg("a"), py::arg("b"), py::arg("bias"), py::arg("activation"), py::arg("transpose_a"),
        py::arg("transpose_b"), py::arg("out"), py::arg("isa"), py::arg("threads"));
}

}  // namespace engine::bindings
