// The compiled calls of a function of the user: which of them is run is found by the form of the arguments.
#include <pybind11/stl.h>

#include <iterator>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bindings/forms.h"
#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/step_call.h"
#include "runtime/fork.h"

namespace engine::bindings {
namespace {

/// An attribute of an object; names are made once, which takes as long as to look them up.
py::object attribute(const py::handle& object, const py::str& name) {
  PyObject* const found = PyObject_GetAttr(object.ptr(), name.ptr());
  if (!found) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(found);
}

bool is_set(const py::object& context_variable) {
  PyObject* value = nullptr;
  if (PyContextVar_Get(context_variable.ptr(), nullptr, &value) != 0) throw py::error_already_set();
  return value != nullptr && !py::reinterpret_steal<py::object>(value).is_none();
}

/// A step that was compiled for calls of one form.
struct CompiledCall {
  Form form;
  py::object step;  // `engine.models.compiled_steps.CompiledStep`
  py::object versions, states;
  std::shared_ptr<const StepCall> call;

  /// Whether what the step was compiled from has not changed since.
  bool is_current() const {
    static const auto& kState = *new py::str("state");  // never freed, as Python may have ended before
    for (py::ssize_t i = 0; i < PyList_GET_SIZE(versions.ptr()); ++i) {
      const auto version = py::reinterpret_steal<py::object>(PySequence_GetItem(versions.ptr(), i));
      const auto before = py::reinterpret_steal<py::object>(PySequence_GetItem(states.ptr(), i));
      if (!version || !before) throw py::error_already_set();
      if (!attribute(version, kState).is(before)) return false;
    }
    return true;
  }
};

class CallTable {
 public:
  CallTable(py::object open_recorder, py::object current, py::object of_thread, py::object prepare, py::object sorted,
            size_t most)
      : open_recorder_(std::move(open_recorder)),
        current_(std::move(current)),
        of_thread_(std::move(of_thread)),
        prepare_(std::move(prepare)),
        sorted_(std::move(sorted)),
        most_(most) {}

  py::object call(const py::tuple& args, const py::dict& kwargs) {
    static const auto& kTraces = *new py::str("traces");
    const auto none = py::reinterpret_borrow<py::object>(Py_NotImplemented);
    if (is_set(open_recorder_) || is_set(current_)) return none;
    if (py::len(attribute(of_thread_, kTraces)) > 0) prepare_();
    const Form form = form_of(args, kwargs, sorted_);
    const std::shared_ptr<const CompiledCall> found = find(form.key);
    return found ? found->call->run(form.arrays) : none;
  }

  /// The step that is compiled for a call, and the arrays in its arguments; None if there is none.
  py::object step_for(const py::tuple& args, const py::dict& kwargs) {
    if (is_set(open_recorder_) || is_set(current_)) return py::none();
    const Form form = form_of(args, kwargs, sorted_);
    const std::shared_ptr<const CompiledCall> found = find(form.key);
    return found ? py::object(py::make_tuple(found->step, form.arrays)) : py::none();
  }

  py::object form(const py::tuple& args, const py::dict& kwargs) const {
    return to_python(std::make_unique<Form>(form_of(args, kwargs, sorted_)));
  }

  void add(const Form& form, py::object step, const py::sequence& dependencies, std::shared_ptr<StepCall> call) {
    if (!call) throw py::type_error("a step needs a call that runs it");
    auto made = std::make_shared<CompiledCall>(
        CompiledCall{form, std::move(step), dependencies[0], dependencies[1], std::move(call)});
    made->form.arrays.clear();
    std::vector<std::shared_ptr<const CompiledCall>> dropped;  // freed after the lock is released
    const std::lock_guard<std::mutex> lock(short_lock());
    const auto known = places_.find(made->form.key);
    if (known != places_.end()) drop(known->second, dropped);
    calls_.push_front(made);
    places_[made->form.key] = calls_.begin();
    while (calls_.size() > most_) drop(std::prev(calls_.end()), dropped);
  }

  void clear() {
    decltype(calls_) dropped;
    const std::lock_guard<std::mutex> lock(short_lock());
    places_.clear();
    calls_.swap(dropped);
  }

  int visit(visitproc visit, void* arg) const {
    for (const py::object* each : {&open_recorder_, &current_, &of_thread_, &prepare_, &sorted_}) {
      Py_VISIT(each->ptr());
    }
    for (const auto& each : calls_) {
      for (const py::object* held : {&each->step, &each->versions, &each->states}) Py_VISIT(held->ptr());
      for (const py::object& held : each->form.objects) Py_VISIT(held.ptr());
    }
    return 0;
  }

  size_t size() const {
    const std::lock_guard<std::mutex> lock(short_lock());
    return calls_.size();
  }

  /// The step of the last call; None if there is none.
  py::object last() const {
    const std::lock_guard<std::mutex> lock(short_lock());
    return calls_.empty() ? py::none() : calls_.front()->step;
  }

 private:
  using Calls = std::list<std::shared_ptr<const CompiledCall>>;

  /// The call of a form, unless what it was compiled from has changed; null if there is none.
  std::shared_ptr<const CompiledCall> find(const std::string& key) {
    std::shared_ptr<const CompiledCall> found;
    {
      const std::lock_guard<std::mutex> lock(short_lock());
      const auto place = places_.find(key);
      if (place == places_.end()) return nullptr;
      calls_.splice(calls_.begin(), calls_, place->second);
      found = calls_.front();
    }
    return found->is_current() ? found : nullptr;
  }

  void drop(Calls::iterator place, std::vector<std::shared_ptr<const CompiledCall>>& dropped) {
    dropped.push_back(*place);
    places_.erase((*place)->form.key);
    calls_.erase(place);
  }

  py::object open_recorder_, current_, of_thread_, prepare_, sorted_;
  size_t most_;
  // Guarded by `short_lock`.
  Calls calls_;  // the last one first
  std::unordered_map<std::string, Calls::iterator> places_;
};

std::unique_ptr<CallTable> make_table(py::object open_recorder, py::object current, py::object of_thread,
                                      py::object prepare, py::object sorted, size_t most) {
  return std::make_unique<CallTable>(std::move(open_recorder), std::move(current), std::move(of_thread),
                                     std::move(prepare), std::move(sorted), most);
}

std::shared_ptr<StepCall> make_call(const std::shared_ptr<HeldSequence>& sequence, const std::vector<size_t>& read,
                                    const py::sequence& optimizers, const std::vector<bool>& draws,
                                    const py::object& next_draw,
                                    const std::vector<std::pair<size_t, py::object>>& checks,
                                    const py::object& integers, const py::sequence& after, const py::tuple& results,
                                    const py::object& tensor) {
  return std::make_shared<StepCall>(sequence, read, optimizers, draws, next_draw, checks, integers, after, results,
                                    tensor);
}

/// Lets Python's garbage collector see the objects that a C++ object of a class refers to, which may refer to it in
/// turn. It takes no lock: no thread that holds one calls Python.
template <class T>
py::custom_type_setup collected() {
  return py::custom_type_setup([](PyHeapTypeObject* heap_type) {
    PyTypeObject& type = heap_type->ht_type;
    type.tp_flags |= Py_TPFLAGS_HAVE_GC;
    type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) -> int {
      Py_VISIT(Py_TYPE(self));
      const auto held = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
      return held.holder_constructed() ? held.value_ptr<T>()->visit(visit, arg) : 0;
    };
    type.tp_clear = [](PyObject* self) -> int {
      const auto held = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
      if (held.holder_constructed()) held.value_ptr<T>()->clear();
      return 0;
    };
  });
}

}  // namespace

void register_call_table(py::module_& m) {
  py::class_<StepCall, std::shared_ptr<StepCall>> call(m, "StepCall", collected<StepCall>());
  def_init(call, &make_call, py::arg("sequence"), py::arg("read"), py::arg("optimizers"), py::arg("draws"),
           py::arg("next_draw"), py::arg("checks"), py::arg("integers"), py::arg("after"), py::arg("results"),
           py::arg("tensor"));
  call.def("run", &StepCall::run, py::arg("arrays"));
  py::class_<Form> form(m, "Form");
  form.def_property_readonly("arrays", [](const Form& self) { return self.arrays; });
  form.def_property_readonly("key", [](const Form& self) { return py::bytes(self.key); });
  py::class_<CallTable> table(m, "CallTable", collected<CallTable>());
  def_init(table, &make_table, py::arg("open_recorder"), py::arg("current"), py::arg("of_thread"), py::arg("prepare"),
           py::arg("sorted"), py::arg("most"));
  table.def("call", &CallTable::call, py::arg("args"), py::arg("kwargs"))
      .def("step_for", &CallTable::step_for, py::arg("args"), py::arg("kwargs"))
      .def("form", &CallTable::form, py::arg("args"), py::arg("kwargs"))
      .def("add", &CallTable::add, py::arg("form"), py::arg("step"), py::arg("dependencies"), py::arg("call"))
      .def("clear", &CallTable::clear)
      .def("__len__", &CallTable::size)
      .def_property_readonly("last", &CallTable::last);
}

}  // namespace engine::bindings
