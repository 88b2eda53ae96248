// The functions that add the classes and functions of each source file to the module engine_test_kernels.
#pragma once
#include <pybind11/pybind11.h>

namespace engine::bindings {

void register_kernels(pybind11::module_& m);
void register_products(pybind11::module_& m);
void register_metrics(pybind11::module_& m);

}  // namespace engine::bindings
