// Weights between NumPy arrays and the memory of devices.
#pragma once
#include <pybind11/numpy.h>

#include <vector>

#include "bindings/convert.h"
#include "runtime/program.h"

namespace engine::bindings {

/// A copy of what the device keeps for a variable at `memory`, in the shape that the user sees.
py::array_t<float> copy_of(const Device& device, const Variable& variable, const float* memory);

/// Locks without the GIL, since the thread that holds a lock may wait for the GIL.
Hold hold(const WeightLocks& locks, bool writes);
Hold read_lock(const Program& program);

/// `values` as one contiguous array for each of `shapes`; ValueError where a shape differs.
std::vector<py::array_t<float, py::array::forcecast | py::array::c_style>> to_arrays(
    const std::vector<std::vector<int64_t>>& shapes, const py::sequence& values);

}  // namespace engine::bindings
