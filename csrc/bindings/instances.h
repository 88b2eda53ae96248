// Objects of C++ behind objects of Python. pybind11 keeps a table of them; where there is no memory for an entry, its
// own `py::init` and casts free the object twice, or let the exception out where it ends the process.
#pragma once
#include <pybind11/pybind11.h>

#include <memory>
#include <utility>

namespace engine::bindings {

namespace py = pybind11;

/// Puts an object behind the Python object `self`, which stays empty where that fails.
template <class Holder>
void put_behind(py::detail::value_and_holder& self, Holder holder) {
  self.value_ptr() = holder.get();
  try {
    self.type->init_instance(self.inst, &holder);
  } catch (...) {
    self.value_ptr() = nullptr;
    throw;
  }
}

/// A new Python object of a class that has been registered, with the object behind it that `holder` owns.
template <class Holder>
py::object new_instance(const py::detail::type_info* type, Holder holder) {
  auto made = py::reinterpret_steal<py::object>(py::detail::make_new_instance(type->type));
  auto* const instance = reinterpret_cast<py::detail::instance*>(made.ptr());
  instance->owned = true;
  auto self = instance->get_value_and_holder(type);
  put_behind(self, std::move(holder));
  return made;
}

/// A new Python object with `object` behind it.
template <class T>
py::object to_python(std::unique_ptr<T> object) {
  return new_instance(py::detail::get_type_info(typeid(T)), std::move(object));
}

/// The Python object with `object` behind it, or a new one; None for null.
template <class T>
py::object to_python(std::shared_ptr<T> object) {
  if (!object) return py::none();
  const auto* const type = py::detail::get_type_info(typeid(T));
  const py::handle present = py::detail::find_registered_python_instance(object.get(), type);
  if (present) return py::reinterpret_steal<py::object>(present);
  return new_instance(type, std::move(object));
}

/// As `py::init(make)`, for a function that returns the holder of the class.
template <class Class, class Holder, class... Arguments, class... Extra>
Class& def_init(Class& type, Holder (*make)(Arguments...), const Extra&... extra) {
  const auto init = [make](py::detail::value_and_holder& self, Arguments... arguments) {
    put_behind(self, make(std::forward<Arguments>(arguments)...));
  };
  return type.def("__init__", init, py::detail::is_new_style_constructor(), extra...);
}

/// As `py::init<Arguments...>()`, for classes that a std::unique_ptr holds.
template <class... Arguments, class Class, class... Extra>
Class& def_init(Class& type, const Extra&... extra) {
  using T = typename Class::type;
  return def_init(
      type, +[](Arguments... arguments) { return std::make_unique<T>(std::forward<Arguments>(arguments)...); },
      extra...);
}

}  // namespace engine::bindings
