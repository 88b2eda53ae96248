// Values of context variables within blocks. As with locks (locks.cpp), an exception between two bytecodes, such as
// that of Ctrl-C, can't leave a value that belongs to a block which has ended.
#include <memory>
#include <stdexcept>
#include <utility>

#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"

namespace engine::bindings {
namespace {

/// A value of a context variable, from construction to `end` or destruction.
class ContextValue {
 public:
  ContextValue(py::object variable, py::object value)
      : variable_(std::move(variable)),
        value_(std::move(value)),
        token_(py::reinterpret_steal<py::object>(PyContextVar_Set(variable_.ptr(), value_.ptr()))) {
    if (!token_) throw py::error_already_set();
  }
  ~ContextValue() { end(); }
  ContextValue(const ContextValue&) = delete;
  ContextValue& operator=(const ContextValue&) = delete;

  py::object value() const { return value_; }

  void end() {
    const py::object token = std::exchange(token_, py::object());
    // It fails in another context than that of the beginning, which has its own value.
    if (token && PyContextVar_Reset(variable_.ptr(), token.ptr()) != 0) PyErr_Clear();
  }

 private:
  py::object variable_, value_, token_;
};

std::unique_ptr<ContextValue> make_value(py::object variable, py::object value) {
  return std::make_unique<ContextValue>(std::move(variable), std::move(value));
}

/// The base of classes whose objects are context managers that set a context variable to what their method `_opened`
/// returns. Their method `_closed` is called after the block; exceptions may keep it from that.
class ContextBlock {
 public:
  explicit ContextBlock(py::object variable) : variable_(std::move(variable)) {}

  bool is_open() const { return value_ != nullptr; }
  void open(const py::object& value) { value_ = std::make_unique<ContextValue>(variable_, value); }
  void close() { value_.reset(); }

 private:
  py::object variable_;
  std::unique_ptr<ContextValue> value_;
};

std::unique_ptr<ContextBlock> make_block(py::object variable) {
  return std::make_unique<ContextBlock>(std::move(variable));
}

py::object enter(const py::object& self) {
  const py::object value = ask(py::type::of(self).attr("_opened"), self);
  self.cast<ContextBlock&>().open(value);
  return self;
}

void exit(const py::object& self, py::handle, py::handle, py::handle) {
  self.cast<ContextBlock&>().close();
  ask(py::type::of(self).attr("_closed"), self);
}

}  // namespace

void register_context(py::module_& m) {
  py::class_<ContextValue> value(m, "ContextValue");
  def_init(value, &make_value, py::arg("variable"), py::arg("value"));
  value.def("__enter__", &ContextValue::value);
  value.def("__exit__", [](ContextValue& self, py::handle, py::handle, py::handle) { self.end(); });
  py::class_<ContextBlock> block(m, "ContextBlock");
  def_init(block, &make_block, py::arg("variable"));
  block.def_property_readonly("_is_open", &ContextBlock::is_open);
  block.def("__enter__", &enter);
  block.def("__exit__", &exit);
}

}  // namespace engine::bindings
