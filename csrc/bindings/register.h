// The parts of the module; each source file of this room registers its own.
#pragma once
#include <pybind11/pybind11.h>

namespace engine::bindings {

void register_info(pybind11::module_& m);
void register_containers(pybind11::module_& m);
void register_context(pybind11::module_& m);
void register_locks(pybind11::module_& m);
void register_random(pybind11::module_& m);
void register_results(pybind11::module_& m);
void register_totals(pybind11::module_& m);
void register_compressed(pybind11::module_& m);
void register_dataset(pybind11::module_& m);
void register_device_array(pybind11::module_& m);
void register_devices(pybind11::module_& m);
void register_run(pybind11::module_& m);
void register_weights(pybind11::module_& m);
void register_optimizer_state(pybind11::module_& m);
void register_program(pybind11::module_& m);
void register_array_function(pybind11::module_& m);
void register_batch_call(pybind11::module_& m);
void register_functions(pybind11::module_& m);
void register_call_table(pybind11::module_& m);
void register_host_steps(pybind11::module_& m);
void register_ops(pybind11::module_& m);
void register_predictor(pybind11::module_& m);

}  // namespace engine::bindings
