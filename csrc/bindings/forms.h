// Forms of arguments: what a function that is compiled for its arguments depends on, beside the numbers in arrays.
#pragma once
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

namespace engine::bindings {

namespace py = pybind11;

/// The form of a call: shapes and dtypes of its arrays, the lists, tuples and dicts around them, and all other
/// arguments. Floats are arrays without axes. Calls of equal forms have equal keys, as long as `objects` live.
struct Form {
  std::string key;
  std::vector<py::object> arrays;   // of NumPy, in the order of `engine.tree.flatten`
  std::vector<py::object> objects;  // what the key knows by its address
};

/// `sorted` returns the keys of a dict, which may be of several types, in their order.
Form form_of(const py::tuple& args, const py::dict& kwargs, const py::object& sorted);

}  // namespace engine::bindings
