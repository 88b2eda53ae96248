// Entries of the mappings that Python describes models with.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

namespace engine::bindings {

namespace py = pybind11;

[[noreturn]] inline void fail(const std::string& message) { throw py::value_error(message); }

/// The entry, or null. Each look makes a string of Python's: one is a tenth of a small product.
inline py::object find_entry(const py::dict& mapping, const char* key) {
  PyObject* found = PyDict_GetItemWithError(mapping.ptr(), py::str(key).ptr());
  if (!found && PyErr_Occurred()) throw py::error_already_set();
  return py::reinterpret_borrow<py::object>(found);
}

[[noreturn]] inline void fail_about(const char* what, const char* key, const py::dict& mapping) {
  fail(std::string(what) + " '" + key + "' in " + py::repr(mapping).cast<std::string>());
}

template <class T>
T to_value(const py::object& entry, const py::dict& mapping, const char* key) {
  try {
    return entry.cast<T>();
  } catch (const py::cast_error&) {
    fail_about("wrong type for key", key, mapping);
  }
}

template <class T>
T get(const py::dict& mapping, const char* key) {
  const py::object entry = find_entry(mapping, key);
  if (!entry) fail_about("missing key", key, mapping);
  return to_value<T>(entry, mapping, key);
}

template <class T>
T get(const py::dict& mapping, const char* key, T otherwise) {
  const py::object entry = find_entry(mapping, key);
  return entry ? to_value<T>(entry, mapping, key) : otherwise;
}

inline double to_nonnegative(const py::dict& mapping, const char* key) {
  const auto value = get<double>(mapping, key);
  if (!(value >= 0.0)) fail(std::string("'") + key + "' must not be negative, got " + std::to_string(value));
  return value;
}

inline double to_nonnegative(const py::dict& mapping, const char* key, double otherwise) {
  return mapping.contains(key) ? to_nonnegative(mapping, key) : otherwise;
}

}  // namespace engine::bindings
