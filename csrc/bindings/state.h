// The state of a program between NumPy arrays and arenas: weights, and what the optimizer keeps per weight.
#pragma once
#include <pybind11/numpy.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/convert.h"
#include "runtime/program.h"

namespace engine::bindings {

/// A copy of what the device keeps for a variable at `memory`, in the shape that the user sees.
py::array_t<float> copy_of(const Device& device, const Variable& variable, const float* memory);

/// Takes the lock without the GIL.
Hold read_lock(const Program& program);

/// `values` as one contiguous array for each of `shapes`; ValueError where a shape differs.
std::vector<py::array_t<float, py::array::forcecast | py::array::c_style>> to_arrays(
    const std::vector<std::vector<int64_t>>& shapes, const py::sequence& values);

/// The numbers of all variables, or the one number that is given; IndexError if there is no such variable.
std::vector<size_t> chosen(const Program& program, std::optional<size_t> index);

void set_iterations(Program& program, int64_t n);

/// Per variable what the optimizer keeps: slot `number` for the kind "slot", its running mean for "average", the sum of
/// gradients for "accumulated". `raw`: scaled as the core keeps it, so that every bit comes back. `index`: of the one
/// variable that is meant.
py::list read_state(Program& program, const std::string& kind, int number, bool raw, std::optional<size_t> index);
void write_state(Program& program, const std::string& kind, int number, const py::sequence& values, bool raw,
                 std::optional<size_t> index);

/// How many arrays of each kind there are per variable.
py::dict state_counts(Program& program);

}  // namespace engine::bindings
