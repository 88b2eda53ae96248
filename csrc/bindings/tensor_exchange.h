// How arrays in memory of a GPU come from other libraries and go to them: DLPack, and the CUDA array interface
// (https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html), version 3.
#pragma once
#include <optional>

#include "bindings/device_array.h"

namespace engine::bindings {

/// The array that an object of another library stands for, in its own memory; nothing for objects that offer none in
/// memory of a GPU, and in builds without CUDA. The numbers are complete on return. Throws py::type_error or
/// py::buffer_error for what can't be read, and what the library itself raises.
std::optional<DeviceArray> from_other_library(const py::object& tensor);

/// A capsule with the array, as the method `__dlpack__` returns it.
py::object to_dlpack(const DeviceArray& array, const py::object& stream, const py::object& max_version,
                     const py::object& device, const py::object& copy);
py::tuple dlpack_device(const DeviceArray& array);

py::dict cuda_array_interface(const DeviceArray& array);

}  // namespace engine::bindings
