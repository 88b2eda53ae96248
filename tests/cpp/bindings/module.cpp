// The module engine_test_kernels: functions that only the Python tests call. It contains its own copy of the core, so
// its settings, such as the number of threads, are not those of engine._core.
#include "register.h"

PYBIND11_MODULE(engine_test_kernels, m, pybind11::mod_gil_not_used()) {
  engine::bindings::register_kernels(m);
  engine::bindings::register_products(m);
  engine::bindings::register_metrics(m);
}
