// The state of a program between NumPy arrays and arenas: weights, and what the optimizer keeps per weight.
#pragma once
#include <pybind11/numpy.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/convert.h"
#include "plan/program.h"

namespace engine::bindings {

/// A contiguous copy of what is kept in panels from `data` on, in the shape that the user knows.
py::array_t<float> copy_of(const Variable& variable, const float* data);

/// Takes the lock without the GIL.
Hold read_lock(const Program& program);

/// `values` as one contiguous array for each of `targets`; ValueError where a shape differs.
std::vector<py::array_t<float, py::array::forcecast | py::array::c_style>> to_arrays(
    const std::vector<Variable>& targets, const py::sequence& values);

/// All variables, or the one of that index; IndexError if there is none.
std::vector<Variable> chosen(const Program& program, std::optional<size_t> index);

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
