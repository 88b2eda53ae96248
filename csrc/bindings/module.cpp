// engine._core: argument checks, exceptions and the GIL; everything else lies in the rooms below.
#include <pybind11/pybind11.h>

#include "bindings/register.h"
#include "cpu/device.h"

namespace {

constexpr const char* kRefusal =
    "engine can't be used in a sub-interpreter: import it in the main interpreter (with mod_wsgi: "
    "WSGIApplicationGroup %{GLOBAL}), or in a process of its own";

bool in_main_interpreter() { return PyInterpreterState_Get() == PyInterpreterState_Main(); }

}  // namespace

PYBIND11_MODULE(core_of_main_interpreter, m, pybind11::mod_gil_not_used()) {
  if (!in_main_interpreter()) throw pybind11::import_error(kRefusal);
  engine::cpu::device();  // chooses the kernels now, so that a bad ENGINE_ISA is an error of the import
  m.attr("__version__") = ENGINE_VERSION;
  engine::bindings::register_info(m);
  engine::bindings::register_devices(m);
  engine::bindings::register_device_array(m);
  engine::bindings::register_containers(m);
  engine::bindings::register_context(m);
  engine::bindings::register_locks(m);
  engine::bindings::register_random(m);
  engine::bindings::register_results(m);
  engine::bindings::register_totals(m);
  engine::bindings::register_compressed(m);
  engine::bindings::register_dataset(m);
  engine::bindings::register_run(m);
  engine::bindings::register_weights(m);
  engine::bindings::register_optimizer_state(m);
  engine::bindings::register_program(m);
  engine::bindings::register_array_function(m);
  engine::bindings::register_batch_call(m);
  engine::bindings::register_functions(m);
  engine::bindings::register_call_table(m);
  engine::bindings::register_host_steps(m);
  engine::bindings::register_ops(m);
  engine::bindings::register_predictor(m);
}

/// The entry of `_core`. In another interpreter than the main one pybind11 would wait for the GIL that it holds, up to
/// Python 3.11, and NumPy, whose types the module keeps, belongs to the main interpreter in every version. From 3.13 on
/// Python calls this in the main interpreter first, and what the module does then in the one that imports it.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (in_main_interpreter()) return PyInit_core_of_main_interpreter();
  PyErr_SetString(PyExc_ImportError, kRefusal);
  return nullptr;
}
