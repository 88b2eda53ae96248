// Lists, tuples and dicts of a user's, which may hold each other, or themselves.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "bindings/register.h"

namespace engine::bindings {
namespace {

namespace py = pybind11;

bool is_container(PyObject* value) { return PyList_Check(value) || PyTuple_Check(value) || PyDict_Check(value); }

/// Finds the instances of a class in containers. Metrics, layers and optimizers in the attributes of a model are found
/// so in each step, which in Python takes longer than the step of a small network.
class Search {
 public:
  explicit Search(PyTypeObject* kind) : kind_(kind) {}

  void add(PyObject* value) {
    if (is_container(value)) return add_within(value);
    if (PyType_IsSubtype(Py_TYPE(value), kind_) && seen_.insert(value).second) {
      found_.append(py::reinterpret_borrow<py::object>(value));
    }
  }
  py::list found() const { return found_; }

 private:
  /// Adds what is in a copy of a container, since another thread may change the container meanwhile. One that holds
  /// itself, at any depth, is searched once at each place.
  void add_within(PyObject* container) {
    if (std::find(around_.begin(), around_.end(), container) != around_.end()) return;
    const auto values = py::reinterpret_steal<py::object>(copied(container));
    if (!values) throw py::error_already_set();
    around_.push_back(container);
    for (py::ssize_t i = 0; i < PySequence_Fast_GET_SIZE(values.ptr()); ++i) {
      add(PySequence_Fast_GET_ITEM(values.ptr(), i));
    }
    around_.pop_back();
  }

  static PyObject* copied(PyObject* container) {
    if (PyTuple_CheckExact(container)) return Py_NewRef(container);
    if (PyDict_CheckExact(container)) return PyDict_Values(container);
    return PyDict_Check(container) ? PyMapping_Values(container) : PySequence_List(container);
  }

  PyTypeObject* kind_;
  std::vector<PyObject*> around_;  // the containers that hold the one that is searched, the outermost first
  std::unordered_set<PyObject*> seen_;
  py::list found_;
};

py::list instances_within(const py::object& value, const py::type& kind) {
  Search search(reinterpret_cast<PyTypeObject*>(kind.ptr()));
  search.add(value.ptr());
  return search.found();
}

}  // namespace

void register_containers(py::module_& m) {
  m.def("instances_within", &instances_within, py::arg("value"), py::arg("kind"));
}

}  // namespace engine::bindings
