// engine._core: argument checks, exceptions and the GIL; everything else lies in the rooms below.
#include <pybind11/pybind11.h>

#include "bindings/register.h"
#include "cpu/executor.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  engine::cpu_executor();  // chooses the kernels now, so that a bad ENGINE_ISA is an error of the import
  m.attr("__version__") = ENGINE_VERSION;
  engine::bindings::register_info(m);
  engine::bindings::register_random(m);
  engine::bindings::register_results(m);
  engine::bindings::register_totals(m);
  engine::bindings::register_compressed(m);
  engine::bindings::register_dataset(m);
  engine::bindings::register_run(m);
  engine::bindings::register_program(m);
  engine::bindings::register_kernels(m);
  engine::bindings::register_ops(m);
  engine::bindings::register_predictor(m);
}
