#include "bindings/forms.h"

#include <pybind11/numpy.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "bindings/floats.h"

namespace engine::bindings {
namespace {

/// What a part of a key is.
enum class Tag : char { kArray, kSequence, kDict, kEnd, kInteger, kLongInteger, kText, kBytes, kNone, kObject };

/// Kinds of dtypes that their size and byte order describe.
constexpr const char* kNumbers = "biufc";

/// np.asarray of a value.
py::object as_array(const py::handle& value) {
  constexpr int kEnsureArray = 0x0040;
  const auto& api = py::detail::npy_api::get();
  auto array =
      py::reinterpret_steal<py::object>(api.PyArray_FromAny_(value.ptr(), nullptr, 0, 0, kEnsureArray, nullptr));
  if (!array) throw py::error_already_set();
  return array;
}

/// Appends to a form what depends on an argument.
class FormWriter {
 public:
  FormWriter(Form& form, const py::object& sorted) : form_(form), sorted_(sorted) {}

  void write(const py::handle& value) {
    PyObject* const object = value.ptr();
    if (Py_TYPE(object) == py::detail::npy_api::get().PyArray_Type_) {
      write_array(py::reinterpret_borrow<py::object>(value));
    } else if (PyTuple_Check(object) || PyList_Check(object)) {
      write_sequence(value);
    } else if (is_dict(value)) {
      write_dict(py::reinterpret_borrow<py::dict>(value));
    } else if (is_array(value)) {
      write_array(as_array(value));
    } else if (object == Py_None) {
      put(Tag::kNone);
    } else if (PyLong_Check(object)) {
      write_integer(value);
    } else if (PyUnicode_Check(object)) {
      write_text(value);
    } else if (PyBytes_Check(object)) {
      put(Tag::kBytes);
      put_object(py::type::handle_of(value));
      put_bytes(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object));
    } else {
      put(Tag::kObject);
      put_object(value);
    }
  }

 private:
  template <class Number>
  void put(Number number) {
    char bytes[sizeof(Number)];
    std::memcpy(bytes, &number, sizeof(Number));
    form_.key.append(bytes, sizeof(Number));
  }
  void put_bytes(const char* bytes, py::ssize_t size) {
    put(size);
    form_.key.append(bytes, static_cast<size_t>(size));
  }
  /// Writes the address of an object, which stays alive as long as the form. The types of Python itself do so anyway.
  void put_object(const py::handle& object) {
    put(object.ptr());
    const bool is_permanent =
        PyType_Check(object.ptr()) && !(Py_TPFLAGS_HEAPTYPE & reinterpret_cast<PyTypeObject*>(object.ptr())->tp_flags);
    if (!is_permanent) form_.objects.push_back(py::reinterpret_borrow<py::object>(object));
  }

  /// Whether a value is an array, and no variable.
  static bool is_array(const py::handle& value) {
    if (PyFloat_Check(value.ptr())) return true;
    // These have no `__array__`, and to ask for one takes longer than to know that.
    PyTypeObject* const type = Py_TYPE(value.ptr());
    if (type == &PyLong_Type || type == &PyBool_Type || type == &PyUnicode_Type || type == Py_TYPE(Py_None)) {
      return false;
    }
    return py::hasattr(value, "__array__") && !py::hasattr(value, "_owner_and_number");
  }

  static bool is_dict(const py::handle& value) {
    if (!PyDict_Check(value.ptr())) return false;
    return PyDict_CheckExact(value.ptr()) || PyODict_CheckExact(value.ptr()) ||
           py::type::handle_of(value).is(py::module_::import("collections").attr("defaultdict"));
  }

  void write_array(py::object array) {
    const auto& proxied = proxy(array);
    const auto type = py::reinterpret_borrow<py::dtype>(proxied.descr);
    put(Tag::kArray);
    put(type.kind());
    if (std::strchr(kNumbers, type.kind())) {
      put(type.byteorder());
      put(type.itemsize());
    } else {
      const std::string text = py::repr(type).cast<std::string>();
      put_bytes(text.data(), static_cast<py::ssize_t>(text.size()));
    }
    put(proxied.nd);
    for (int i = 0; i < proxied.nd; ++i) put(proxied.dimensions[i]);
    form_.arrays.push_back(std::move(array));
  }

  void write_sequence(const py::handle& value) {
    put(Tag::kSequence);
    put_object(py::type::handle_of(value));
    for (py::ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value.ptr()); ++i) {
      write(py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(value.ptr(), i)));
    }
    put(Tag::kEnd);
  }

  void write_dict(const py::dict& value) {
    put(Tag::kDict);
    put_object(py::type::handle_of(value));
    py::object names = py::reinterpret_steal<py::list>(PyDict_Keys(value.ptr()));
    if (!PyODict_Check(value.ptr()) && py::len(names) > 1) names = sorted_(names);
    for (const py::handle name : names) {
      write(name);
      write(py::object(value[name]));
    }
    put(Tag::kEnd);
  }

  void write_integer(const py::handle& value) {
    int overflows = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflows);
    put(overflows == 0 ? Tag::kInteger : Tag::kLongInteger);
    put_object(py::type::handle_of(value));
    if (overflows == 0) return put(number);
    const auto digits = py::reinterpret_steal<py::object>(PyNumber_ToBase(value.ptr(), 16));
    if (!digits) throw py::error_already_set();
    write_text(digits);
  }

  void write_text(const py::handle& value) {
    put(Tag::kText);
    put_object(py::type::handle_of(value));
    py::ssize_t size = 0;
    if (const char* const bytes = PyUnicode_AsUTF8AndSize(value.ptr(), &size)) return put_bytes(bytes, size);
    PyErr_Clear();  // it has halves of surrogate pairs
    const auto encoded =
        py::reinterpret_steal<py::object>(PyUnicode_AsEncodedString(value.ptr(), "utf-8", "surrogatepass"));
    if (!encoded) throw py::error_already_set();
    put_bytes(PyBytes_AS_STRING(encoded.ptr()), PyBytes_GET_SIZE(encoded.ptr()));
  }

  Form& form_;
  const py::object& sorted_;
};

}  // namespace

Form form_of(const py::tuple& args, const py::dict& kwargs, const py::object& sorted) {
  Form form;
  FormWriter writer(form, sorted);
  writer.write(args);
  if (!kwargs.empty()) writer.write(kwargs);
  return form;
}

}  // namespace engine::bindings
