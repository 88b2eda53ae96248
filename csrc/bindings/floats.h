// Arguments that may be any array of numbers, as float32 arrays that the kernels can read where they lie.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

namespace engine::bindings {

namespace py = pybind11;

/// The bytes of a float, in the type of strides.
inline constexpr py::ssize_t kFloat = sizeof(float);

/// An argument of a function on matrices.
struct Floats {
  const char* name;
  py::object given;       // the array that came
  py::object array;       // itself, or a float32 copy whose elements lie whole floats apart
  float* data = nullptr;  // of `array`
  int axes = 0;           // of `array`, as are:
  const py::ssize_t* extents = nullptr;
  const py::ssize_t* strides = nullptr;  // in bytes

  bool empty() const { return !array; }
};

/// NumPy's own float32, and whether an array has it.
py::object float32();
bool is_float32(const py::handle& array);

/// TypeError unless every value of the argument is a float32, too.
Floats to_floats(py::handle value, const char* name);

/// A new array, not initialised; `extents` of any memory. `type` is a subclass of np.ndarray; null for that itself.
/// `is_int32` says that the array is one of int32 instead of float32.
py::object empty_array(int axes, const py::ssize_t* extents, PyTypeObject* type = nullptr, bool is_int32 = false);

/// What the array protocol says of an array that is surely one.
inline const py::detail::PyArray_Proxy& proxy(const py::handle& array) { return *py::detail::array_proxy(array.ptr()); }

/// Whether the elements are aligned and lie whole floats apart.
bool lies_in_floats(const py::handle& array);

/// (2, 3) as Python prints it.
std::string shape_text(int axes, const py::ssize_t* extents);
inline std::string shape_text(const py::handle& array) { return shape_text(proxy(array).nd, proxy(array).dimensions); }

/// ValueError unless `out` is a writable float32 array of this shape, no element of which lies on another.
void require_output(py::handle out, int axes, const py::ssize_t* extents);

/// ValueError if `out` and the argument share memory.
void refuse_overlap(py::handle out, const Floats& argument);

}  // namespace engine::bindings
