// Entries of the mappings that Python describes models with.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

namespace engine::bindings {

namespace py = pybind11;

[[noreturn]] inline void fail(const std::string& message) { throw py::value_error(message); }

template <class T>
T get(const py::dict& mapping, const char* key) {
  if (!mapping.contains(key))
    fail(std::string("missing key '") + key + "' in " + py::repr(mapping).cast<std::string>());
  try {
    return mapping[key].cast<T>();
  } catch (const py::cast_error&) {
    fail(std::string("key '") + key + "' has the wrong type in " + py::repr(mapping).cast<std::string>());
  }
}

template <class T>
T get(const py::dict& mapping, const char* key, T otherwise) {
  return mapping.contains(key) ? get<T>(mapping, key) : otherwise;
}

inline double to_share(const py::dict& mapping, const char* key, double otherwise) {
  const auto value = get<double>(mapping, key, otherwise);
  if (!(value >= 0.0 && value < 1.0))
    fail(std::string("'") + key + "' must lie in [0, 1), got " + std::to_string(value));
  return value;
}

inline double to_positive(const py::dict& mapping, const char* key) {
  const auto value = get<double>(mapping, key);
  if (!(value >= 0.0)) fail(std::string("'") + key + "' must not be negative, got " + std::to_string(value));
  return value;
}

inline double to_positive(const py::dict& mapping, const char* key, double otherwise) {
  return mapping.contains(key) ? to_positive(mapping, key) : otherwise;
}

}  // namespace engine::bindings
