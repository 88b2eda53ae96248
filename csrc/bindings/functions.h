// Functions: programs that compute results from arguments, once for each call.
#pragma once
#include <memory>
#include <vector>

#include "bindings/convert.h"
#include "runtime/function_sequence.h"
#include "runtime/program.h"

namespace engine::bindings {

/// A sequence, and the NumPy arrays that its constant arguments point into.
struct HeldSequence {
  FunctionSequence sequence;
  std::vector<py::array> constants;
};

/// ValueError unless the program is a function that takes so many arguments.
void require_function(const Program& program, size_t arguments);

/// An array as argument `number` of a function. ValueError unless it is readable, of type float32, and as large as
/// `shape`.
ArgumentView to_argument(const py::array& array, size_t number, const graph::Shape& shape);

/// The lengths of the axes of a result.
std::vector<py::ssize_t> result_shape(const Program& program, size_t result);

}  // namespace engine::bindings
