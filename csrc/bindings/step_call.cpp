#include "bindings/step_call.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>

#include "bindings/floats.h"
#include "bindings/gil.h"
#include "runtime/optimizer_state.h"

namespace engine::bindings {
namespace {

/// An array as programs read it, and what keeps its memory.
struct Readable {
  py::object owner;
  FunctionSequence::BatchArray view;
};

/// Bools and uint8 stay bytes, and other real numbers become float32. ValueError for anything else.
Readable readable(const py::object& array) {
  constexpr int kContiguous = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
  const auto& proxied = proxy(array);
  const auto type = py::reinterpret_borrow<py::dtype>(proxied.descr);
  const bool is_contiguous = (proxied.flags & kContiguous) != 0;
  const char kind = type.kind();
  if (kind == 'b' || (kind == 'u' && type.itemsize() == 1)) {
    py::object bytes = is_contiguous ? array : py::array::ensure(array, py::array::c_style);
    return {bytes, {proxy(bytes).data, RowType::kUint8, 0}};
  }
  if (is_contiguous && (proxied.flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_) && is_float32(array)) {
    return {array, {proxied.data, RowType::kFloat32, 0}};
  }
  if (!std::strchr("biuf", kind)) {
    view_rows(py::reinterpret_borrow<py::array>(array));
    throw py::value_error("arrays must hold real numbers");
  }
  py::object floats = py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(array);
  if (!floats) throw py::error_already_set();
  return {floats, {proxy(floats).data, RowType::kFloat32, 0}};
}

int64_t numbers_in(const py::handle& array) {
  const auto& proxied = proxy(array);
  int64_t numbers = 1;
  for (int i = 0; i < proxied.nd; ++i) numbers *= proxied.dimensions[i];
  return numbers;
}

/// Returns a tensor as an array of NumPy's own class.
py::object plain(const py::object& array) {
  return array.attr("view")(
      py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(py::detail::npy_api::get().PyArray_Type_)));
}

}  // namespace

StepCall::StepCall(std::shared_ptr<const HeldSequence> sequence, std::vector<size_t> read,
                   const py::sequence& optimizers, const std::vector<bool>& draws, py::object next_draw,
                   std::vector<std::pair<size_t, py::object>> checks, const py::sequence& after,
                   const py::tuple& results, py::object tensor)
    : held_(std::move(sequence)),
      read_(std::move(read)),
      next_draw_(std::move(next_draw)),
      checks_(std::move(checks)),
      tensor_(std::move(tensor)) {
  const auto& functions = held_->sequence.functions();
  if (optimizers.size() != functions.size() || draws.size() != functions.size()) {
    throw py::value_error("there must be an optimizer or None for each function");
  }
  for (size_t f = 0; f < functions.size(); ++f) {
    const py::object optimizer = optimizers[f];
    if (optimizer.is_none()) {
      if (draws[f]) drawing_.push_back(f);
      continue;
    }
    const auto same = [&](const Stepping& each) { return each.optimizer.is(optimizer); };
    const auto found = std::find_if(steppings_.begin(), steppings_.end(), same);
    Stepping& stepping = found != steppings_.end() ? *found : steppings_.emplace_back(Stepping{optimizer, {}});
    stepping.functions.push_back(f);
  }
  sizes_.assign(read_.size(), 0);
  for (const FunctionSequence::Function& function : functions) {
    for (size_t i = 0; i < function.arguments.size(); ++i) {
      const FunctionSequence::Source& source = function.arguments[i];
      if (source.kind != FunctionSequence::Source::Kind::kBatch) continue;
      sizes_.at(source.array) = graph::element_count(function.program->model().arguments()[i], 1);
    }
  }
  for (const py::handle& each : after) {
    const auto parts = py::cast<py::tuple>(each);
    if (parts.size() != 4) throw py::value_error("a call has an object, a method, arguments and options");
    LateValue args = read_value(parts[2], false), options = read_value(parts[3], false);
    if (args.kind != LateValue::Kind::kTuple || options.kind != LateValue::Kind::kDict) {
      throw py::value_error("the arguments of a call are a tuple, and its options a dict");
    }
    after_.push_back({parts[0], parts[1], std::move(args), std::move(options)});
  }
  results_ = read_value(results, true);
}

/// Reads a value, the first entry of which names its kind.
LateValue StepCall::read_value(const py::tuple& given, bool is_result) {
  using Kind = LateValue::Kind;
  const auto name = given[0].cast<std::string>();
  LateValue value{};
  const auto read_parts = [&](Kind kind, const py::iterable& parts) {
    value.kind = kind;
    for (const py::handle each : parts) value.parts.push_back(read_value(py::cast<py::tuple>(each), is_result));
  };
  if (name == "result") {
    value = {Kind::kResult, 0, given[3].cast<std::vector<py::ssize_t>>(), given[4], {}, {}};
    value.number = place_of({given[1].cast<size_t>(), given[2].cast<size_t>(), value.shape, is_result});
  } else if (name == "argument") {
    value = {Kind::kArgument, given[1].cast<size_t>(), {}, {}, {}, {}};
  } else if (name == "read" || name == "constant") {
    value = {name == "read" ? Kind::kRead : Kind::kConstant, 0, {}, given[1], {}, {}};
  } else if (name == "made") {
    read_parts(Kind::kMade, py::make_tuple(given[2]));
    value.object = given[1];
  } else if (name == "masked") {
    read_parts(Kind::kMasked, py::make_tuple(given[1], given[2]));
  } else if (name == "list" || name == "tuple") {
    read_parts(name == "list" ? Kind::kList : Kind::kTuple, given[1]);
  } else if (name == "dict") {
    const auto entries = py::cast<py::dict>(given[1]);
    read_parts(Kind::kDict, entries.attr("values")());
    for (const auto& entry : entries) value.keys.push_back(py::reinterpret_borrow<py::object>(entry.first));
  } else {
    throw py::value_error("there is no kind of value named '" + name + "'");
  }
  return value;
}

/// Returns the place of a result among those that are kept, where it is put if it is none of them.
size_t StepCall::place_of(const Kept& result) {
  const auto& functions = held_->sequence.functions();
  if (result.function >= functions.size() ||
      result.result >= functions[result.function].program->model().spec().results.size()) {
    throw py::value_error("there is no such result to keep");
  }
  int64_t numbers = 1;
  for (const py::ssize_t length : result.shape) numbers *= length;
  if (numbers != held_->sequence.result_numbers(result.function, result.result)) {
    throw py::value_error("the shape of a result has another number of numbers than the result");
  }
  const auto same = [&](const Kept& each) { return each.function == result.function && each.result == result.result; };
  const auto found = std::find_if(kept_.begin(), kept_.end(), same);
  const auto place = static_cast<size_t>(found - kept_.begin());
  if (found == kept_.end()) kept_.push_back(result);
  kept_[place].is_tensor |= result.is_tensor;
  return place;
}

/// Returns a new array for a result, which its function writes in this call.
py::object StepCall::new_result(const Kept& result, FunctionSequence::Calls& calls) const {
  py::object array = empty_array(static_cast<int>(result.shape.size()), result.shape.data(),
                                 result.is_tensor ? reinterpret_cast<PyTypeObject*>(tensor_.ptr()) : nullptr);
  calls.kept[result.result] = reinterpret_cast<float*>(proxy(array).data);
  return array;
}

py::object StepCall::as_tensor(const py::object& array) const {
  return py::isinstance(array, tensor_) ? array : array.attr("view")(tensor_);
}

/// Returns a value that is known now. Arrays in results become tensors, as do the batch's arrays of floats in
/// arguments: steps and methods get them so where they run in Python.
py::object StepCall::filled(const LateValue& value, const Known& known, bool is_result) const {
  switch (value.kind) {
    case LateValue::Kind::kResult: {
      py::object array = known.results[value.number];
      if (!is_result && kept_[value.number].is_tensor) array = plain(array);
      if (value.shape != kept_[value.number].shape) array = array.attr("reshape")(value.shape);
      return value.object.is_none() ? array : array.attr("astype")(value.object);
    }
    case LateValue::Kind::kArgument: {
      const py::object& array = known.arguments.at(value.number);
      return is_result || is_float32(array) ? as_tensor(array) : array;
    }
    case LateValue::Kind::kRead:
      return value.object();
    case LateValue::Kind::kConstant:
      return is_result && py::isinstance<py::array>(value.object) ? as_tensor(value.object) : value.object;
    case LateValue::Kind::kMade:
      return value.object(filled(value.parts[0], known, is_result));
    case LateValue::Kind::kMasked: {
      const py::object array = filled(value.parts[0], known, is_result).attr("view")(tensor_);
      return array.attr("masked")(filled(value.parts[1], known, is_result));
    }
    case LateValue::Kind::kDict: {
      py::dict entries;
      for (size_t i = 0; i < value.parts.size(); ++i) {
        entries[value.keys[i]] = filled(value.parts[i], known, is_result);
      }
      return std::move(entries);
    }
    case LateValue::Kind::kList:
    case LateValue::Kind::kTuple:
      break;
  }
  return filled_sequence(value, known, is_result);
}

py::object StepCall::filled_sequence(const LateValue& value, const Known& known, bool is_result) const {
  py::list entries;
  for (const LateValue& each : value.parts) entries.append(filled(each, known, is_result));
  if (value.kind == LateValue::Kind::kTuple) return py::tuple(entries);
  return std::move(entries);
}

namespace {

int visit_value(const LateValue& value, visitproc visit, void* arg) {
  Py_VISIT(value.object.ptr());
  for (const py::object& key : value.keys) Py_VISIT(key.ptr());
  for (const LateValue& part : value.parts) {
    if (const int stop = visit_value(part, visit, arg)) return stop;
  }
  return 0;
}

}  // namespace

int StepCall::visit(visitproc visit, void* arg) const {
  for (const Stepping& each : steppings_) Py_VISIT(each.optimizer.ptr());
  for (const auto& [number, check] : checks_) Py_VISIT(check.ptr());
  for (const MethodCall& each : after_) {
    Py_VISIT(each.object.ptr());
    Py_VISIT(each.method.ptr());
    for (const LateValue* value : {&each.args, &each.options}) {
      if (const int stop = visit_value(*value, visit, arg)) return stop;
    }
  }
  for (const py::object* each : {&next_draw_, &tensor_}) Py_VISIT(each->ptr());
  return visit_value(results_, visit, arg);
}

py::object StepCall::run(const std::vector<py::object>& arrays) const {
  const FunctionSequence& sequence = held_->sequence;
  for (const auto& [number, check] : checks_) ask(check, arrays.at(number));
  std::vector<py::object> owners;
  FunctionSequence::Data data;
  owners.reserve(read_.size());
  data.arrays.reserve(read_.size());
  for (size_t i = 0; i < read_.size(); ++i) {
    Readable each = readable(arrays.at(read_[i]));
    if (numbers_in(each.owner) != sizes_[i]) throw py::value_error("an array has another size than the function reads");
    data.arrays.push_back(each.view);
    owners.push_back(std::move(each.owner));
  }
  const size_t count = sequence.functions().size();
  std::vector<int64_t> steps(count, 1);
  std::vector<double> rates(count, 0.0);
  std::vector<std::shared_ptr<OptimizerState>> states(steppings_.size());
  for (size_t s = 0; s < steppings_.size(); ++s) {
    const Stepping& stepping = steppings_[s];
    states[s] = stepping.optimizer.attr("_state").cast<std::shared_ptr<OptimizerState>>();
    if (!states[s]) throw py::type_error("the optimizer has no state");
    const auto of_steps = static_cast<int64_t>(stepping.functions.size());
    const py::array_t<double, kReadable | py::array::forcecast> given =
        ask(stepping.optimizer.attr("_learning_rates"), py::int_(of_steps));
    if (given.size() != of_steps) throw py::value_error("there must be a learning rate for each step");
    const int64_t before = states[s]->iterations();
    for (int64_t i = 0; i < of_steps; ++i) {
      const size_t function = stepping.functions[static_cast<size_t>(i)];
      steps[function] = before + 1 + i;
      rates[function] = given.data()[i];
    }
  }
  for (const size_t function : drawing_) steps[function] = next_draw_().cast<int64_t>();
  std::vector<FunctionSequence::Calls> calls;
  calls.reserve(count);
  for (size_t f = 0; f < count; ++f) {
    const size_t results = sequence.functions()[f].program->model().spec().results.size();
    calls.push_back({&steps[f], &rates[f], std::vector<float*>(results)});
  }
  Known known{arrays, {}};
  known.results.reserve(kept_.size());
  for (const Kept& result : kept_) known.results.push_back(new_result(result, calls[result.function]));
  {
    const Unlocked unlocked;
    for (size_t s = 0; s < steppings_.size(); ++s) {
      for (const size_t function : steppings_[s].functions) {
        sequence.functions()[function].program->use_state(states[s]);
      }
    }
    sequence.run(data, calls, 1);
  }
  for (const MethodCall& each : after_) {
    const py::object method = each.object.attr(each.method);
    method(*filled(each.args, known, false), **filled(each.options, known, false));
  }
  return filled(results_, known, true);
}

}  // namespace engine::bindings
