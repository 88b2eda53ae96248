// The parts of engine_test_kernels; each source file of this folder registers its own.
#pragma once
#include <pybind11/pybind11.h>

namespace engine::bindings {

void register_kernels(pybind11::module_& m);
void register_products(pybind11::module_& m);
void register_metrics(pybind11::module_& m);

}  // namespace engine::bindings
