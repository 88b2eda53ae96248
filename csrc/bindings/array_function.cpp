// Functions of arrays that Python code defines, and what each call of one asks first: whether it is recorded, whether
// NumPy may warn, and whether a function of NumPy alone does the work. For small arrays that would take longer in
// Python than the work itself.
#include <pybind11/numpy.h>
#include <structmember.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "bindings/floats.h"
#include "bindings/register.h"

namespace engine::bindings {
namespace {

/// Objects that a function refers to. Those that it has no use for are null.
enum Part {
  kFunction,    // computes
  kRecorded,    // is called in its place if arguments may be symbols, or tapes are open
  kRecorder,    // the context variable of the tapes, None where there are none
  kPlain,       // a tuple of the classes of which no object is a symbol
  kSetting,     // a context variable
  kValue,       // which it has while `function` computes
  kDirect,      // computes the same as `function` for arrays of one dtype, and for numbers beside arrays
  kDtypes,      // a tuple of these dtypes
  kAttributes,  // `__dict__`
  kParts,
};

struct ArrayFunction {
  PyObject_HEAD;
  vectorcallfunc call;
  PyObject* weak_references;
  PyObject* parts[kParts];
  Py_ssize_t arity;       // of `direct`
  Py_ssize_t conditions;  // its first arguments, which may be arrays of other dtypes than the rest
};

/// Containers in containers are looked into this far.
constexpr int kMostLevels = 8;

bool contains(PyObject* tuple, const void* object) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) {
    if (PyTuple_GET_ITEM(tuple, i) == object) return true;
  }
  return false;
}

/// Whether a value is of these classes, or a list, a tuple or a slice of such values.
bool is_plain(PyObject* value, PyObject* classes, int levels = kMostLevels) {
  if (contains(classes, Py_TYPE(value))) return true;
  if (levels == 0) return false;
  if (PySlice_Check(value)) {
    const auto* const slice = reinterpret_cast<PySliceObject*>(value);
    return is_plain(slice->start, classes, 0) && is_plain(slice->stop, classes, 0) && is_plain(slice->step, classes, 0);
  }
  if (!PyList_CheckExact(value) && !PyTuple_CheckExact(value)) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); ++i) {
    if (!is_plain(PySequence_Fast_GET_ITEM(value, i), classes, levels - 1)) return false;
  }
  return true;
}

/// The value of a context variable, which only stays alive while the variable has it; null after an error.
PyObject* value_of(PyObject* variable) {
  PyObject* found = nullptr;
  if (PyContextVar_Get(variable, Py_None, &found) != 0) return nullptr;
  Py_DECREF(found);
  return found;
}

bool is_int32(PyObject* number) {
  int overflows = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number, &overflows);
  using Limits = std::numeric_limits<int32_t>;
  return overflows == 0 && value >= Limits::min() && value <= Limits::max();
}

bool is_array(PyObject* value) { return Py_TYPE(value) == py::detail::npy_api::get().PyArray_Type_; }

/// Whether `direct` may be called: with conditions, and then with arrays of one of its dtypes, or with float32 or int32
/// beside numbers of Python that NumPy converts to it as `function` does.
bool is_direct(const ArrayFunction& self, PyObject* const* args, Py_ssize_t count) {
  static const PyObject* const kFloat32 = float32().release().ptr();
  static const PyObject* const kInt32 = py::dtype::of<int32_t>().release().ptr();
  if (count != self.arity) return false;
  PyObject* const* const end = args + count;
  PyObject* const* const operands = args + self.conditions;
  for (; args != operands; ++args) {
    if (!is_array(*args) || !contains(self.parts[kDtypes], proxy(*args).descr)) return false;
  }
  const PyObject* dtype = nullptr;
  bool has_numbers = false;
  for (; args != end; ++args) {
    if (!is_array(*args)) {
      has_numbers = true;
      continue;
    }
    const PyObject* const found = proxy(*args).descr;
    if (dtype && found != dtype) return false;
    dtype = found;
  }
  if (!dtype || !contains(self.parts[kDtypes], dtype)) return false;
  return !has_numbers || std::all_of(operands, end, [dtype](PyObject* each) {
    if (is_array(each)) return true;
    if (PyFloat_CheckExact(each)) return dtype == kFloat32;
    return (dtype == kFloat32 || dtype == kInt32) && PyLong_CheckExact(each) && is_int32(each);
  });
}

PyObject* compute(const ArrayFunction& self, PyObject* const* args, size_t nargsf, PyObject* names) {
  const bool direct = self.parts[kDirect] && !names && is_direct(self, args, PyVectorcall_NARGS(nargsf));
  return PyObject_Vectorcall(self.parts[direct ? kDirect : kFunction], args, nargsf, names);
}

/// Computes while the context variable has the value.
PyObject* compute_within(const ArrayFunction& self, PyObject* const* args, size_t nargsf, PyObject* names) {
  PyObject* const before = value_of(self.parts[kSetting]);
  if (!before) return nullptr;
  if (before == self.parts[kValue]) return compute(self, args, nargsf, names);
  PyObject* const token = PyContextVar_Set(self.parts[kSetting], self.parts[kValue]);
  if (!token) return nullptr;
  PyObject* const result = compute(self, args, nargsf, names);
  const py::error_scope error;
  if (PyContextVar_Reset(self.parts[kSetting], token) != 0) PyErr_Clear();
  Py_DECREF(token);
  return result;
}

PyObject* call(PyObject* object, PyObject* const* args, size_t nargsf, PyObject* names) {
  const auto& self = *reinterpret_cast<ArrayFunction*>(object);
  if (self.parts[kRecorded]) {
    const Py_ssize_t count = PyVectorcall_NARGS(nargsf) + (names ? PyTuple_GET_SIZE(names) : 0);
    bool plain = true;
    for (Py_ssize_t i = 0; plain && i < count; ++i) plain = is_plain(args[i], self.parts[kPlain]);
    const PyObject* const tapes = value_of(self.parts[kRecorder]);
    if (!tapes) return nullptr;
    if (!plain || tapes != Py_None) return PyObject_Vectorcall(self.parts[kRecorded], args, nargsf, names);
  }
  return self.parts[kSetting] ? compute_within(self, args, nargsf, names) : compute(self, args, nargsf, names);
}

int traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  for (PyObject* part : reinterpret_cast<ArrayFunction*>(object)->parts) Py_VISIT(part);
  return 0;
}

int clear(PyObject* object) {
  for (PyObject*& part : reinterpret_cast<ArrayFunction*>(object)->parts) Py_CLEAR(part);
  return 0;
}

void dealloc(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (reinterpret_cast<ArrayFunction*>(object)->weak_references) PyObject_ClearWeakRefs(object);
  clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

/// As functions of Python do, it becomes a method of an object of whose class it is an attribute.
PyObject* bound(PyObject* self, PyObject* object, PyObject*) {
  if (!object || object == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, object);
}

/// Attributes that it lacks, such as `__code__`, are those of the function in Python.
PyObject* attribute(PyObject* self, PyObject* name) {
  PyObject* const own = PyObject_GenericGetAttr(self, name);
  PyObject* const function = reinterpret_cast<ArrayFunction*>(self)->parts[kFunction];
  if (own || !function || !PyErr_ExceptionMatches(PyExc_AttributeError)) return own;
  PyErr_Clear();
  return PyObject_GetAttr(function, name);
}

/// It passes for a function of Python where code asks for one, as `inspect.isfunction` does.
PyObject* seeming_class(PyObject*, void*) { return Py_NewRef(reinterpret_cast<PyObject*>(&PyFunction_Type)); }

PyObject* repr(PyObject* self) {
  PyObject* const name = PyObject_GetAttrString(self, "__qualname__");
  PyObject* const text = name ? PyUnicode_FromFormat("<function %U at %p>", name, self) : nullptr;
  Py_XDECREF(name);
  return text;
}

/// It is pickled by its name.
PyObject* reduce(PyObject* self, PyObject*) { return PyObject_GetAttrString(self, "__qualname__"); }

py::object make_type() {
  static PyMemberDef members[] = {
      {"__vectorcalloffset__", T_PYSSIZET, offsetof(ArrayFunction, call), READONLY, nullptr},
      {"__weaklistoffset__", T_PYSSIZET, offsetof(ArrayFunction, weak_references), READONLY, nullptr},
      {"__dictoffset__", T_PYSSIZET, offsetof(ArrayFunction, parts) + kAttributes * sizeof(PyObject*), READONLY,
       nullptr},
      {nullptr, 0, 0, 0, nullptr}};
  static PyGetSetDef attributes[] = {{"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
                                     {"__class__", seeming_class, nullptr, nullptr, nullptr},
                                     {nullptr, nullptr, nullptr, nullptr, nullptr}};
  static PyMethodDef methods[] = {{"__reduce__", reduce, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
  static PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(&PyVectorcall_Call)},
                                {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
                                {Py_tp_clear, reinterpret_cast<void*>(&clear)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(&dealloc)},
                                {Py_tp_descr_get, reinterpret_cast<void*>(&bound)},
                                {Py_tp_getattro, reinterpret_cast<void*>(&attribute)},
                                {Py_tp_repr, reinterpret_cast<void*>(&repr)},
                                {Py_tp_members, members},
                                {Py_tp_getset, attributes},
                                {Py_tp_methods, methods},
                                {0, nullptr}};
  static PyType_Spec spec = {"engine._core.ArrayFunction", sizeof(ArrayFunction), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                                 Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                             slots};
  auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  return type;
}

/// Takes a reference; null for None.
PyObject* part_of(const py::object& value) { return value.is_none() ? nullptr : Py_NewRef(value.ptr()); }

py::object make_function(const py::object& type, std::initializer_list<py::object> parts, py::ssize_t arity = 0,
                         py::ssize_t conditions = 0) {
  auto made = py::reinterpret_steal<py::object>(PyType_GenericAlloc(reinterpret_cast<PyTypeObject*>(type.ptr()), 0));
  if (!made) throw py::error_already_set();
  auto& self = *reinterpret_cast<ArrayFunction*>(made.ptr());
  self.call = &call;
  self.arity = arity;
  self.conditions = conditions;
  std::transform(parts.begin(), parts.end(), self.parts, &part_of);
  // The class has other attributes of these names.
  const py::object& function = *parts.begin();
  made.attr("__module__") = function.attr("__module__");
  made.attr("__doc__") = function.attr("__doc__");
  made.attr("__wrapped__") = function;
  return made;
}

}  // namespace

void register_array_function(py::module_& m) {
  const py::object type = make_type();
  m.attr("ArrayFunction") = type;
  m.def(
      "recordable",
      [type](const py::object& function, const py::object& recorded, const py::object& recorder,
             const py::tuple& plain) { return make_function(type, {function, recorded, recorder, plain}); },
      py::arg("function"), py::arg("recorded"), py::arg("recorder"), py::arg("plain"));
  m.def(
      "computed_within",
      [type](const py::object& function, const py::object& setting, const py::object& value, const py::object& direct,
             py::ssize_t arity, py::ssize_t conditions, const py::tuple& dtypes) {
        if (conditions < 0 || conditions > arity) throw py::value_error("conditions must be among the arguments");
        const py::none none;
        return make_function(type, {function, none, none, none, setting, value, direct, dtypes}, arity, conditions);
      },
      py::arg("function"), py::arg("setting"), py::arg("value"), py::arg("direct") = py::none(), py::arg("arity") = 0,
      py::arg("conditions") = 0, py::arg("dtypes") = py::tuple());
}

}  // namespace engine::bindings
