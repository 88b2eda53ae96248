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

}  // namespace

StepCall::StepCall(std::shared_ptr<const HeldSequence> sequence, std::vector<size_t> read,
                   const py::sequence& optimizers, const std::vector<bool>& draws, py::object next_draw,
                   std::vector<std::pair<size_t, py::object>> checks, py::object results, py::object tensor)
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
  form_ = read_results(results);
}

/// Returns a structure of results with their numbers as leaves, and lists the results.
py::object StepCall::read_results(const py::object& given) {
  if (py::isinstance<py::list>(given)) {
    py::list entries;
    for (const py::handle each : given) entries.append(read_results(py::reinterpret_borrow<py::object>(each)));
    return std::move(entries);
  }
  if (py::isinstance<py::dict>(given)) {
    py::dict entries;
    for (const auto& [name, value] : py::reinterpret_borrow<py::dict>(given)) {
      entries[name] = read_results(py::reinterpret_borrow<py::object>(value));
    }
    return std::move(entries);
  }
  const auto leaf = py::cast<py::tuple>(given);
  if (leaf.size() != 4 || !py::isinstance<py::int_>(leaf[0])) {
    py::list entries;
    for (const py::handle each : leaf) entries.append(read_results(py::reinterpret_borrow<py::object>(each)));
    return py::tuple(entries);
  }
  const Result result{leaf[0].cast<size_t>(), leaf[1].cast<size_t>(), leaf[2].cast<std::vector<py::ssize_t>>(),
                      leaf[3]};
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
  const auto same = [&](const Result& each) {
    return each.function == result.function && each.result == result.result;
  };
  if (std::any_of(results_.begin(), results_.end(), same)) throw py::value_error("a result can be kept only once");
  results_.push_back(result);
  return py::int_(results_.size() - 1);
}

/// Returns a new array for a result, which its function writes in this call.
py::object StepCall::new_result(const Result& result, FunctionSequence::Calls& calls) const {
  py::object array = empty_array(static_cast<int>(result.shape.size()), result.shape.data(),
                                 reinterpret_cast<PyTypeObject*>(tensor_.ptr()));
  calls.kept[result.result] = reinterpret_cast<float*>(proxy(array).data);
  return array;
}

/// Returns the structure `form` with an array in place of each number.
py::object StepCall::filled(const py::object& form, const std::vector<py::object>& arrays) const {
  if (PyLong_CheckExact(form.ptr())) {
    const size_t number = PyLong_AsSize_t(form.ptr());
    const py::object& dtype = results_[number].dtype;
    return dtype.is_none() ? arrays[number] : arrays[number].attr("astype")(dtype);
  }
  if (PyDict_CheckExact(form.ptr())) {
    py::dict entries;
    for (const auto& [name, value] : py::reinterpret_borrow<py::dict>(form)) {
      entries[name] = filled(py::reinterpret_borrow<py::object>(value), arrays);
    }
    return std::move(entries);
  }
  py::list entries;
  for (const py::handle each : form) entries.append(filled(py::reinterpret_borrow<py::object>(each), arrays));
  if (PyTuple_CheckExact(form.ptr())) return py::tuple(entries);
  return std::move(entries);
}

int StepCall::visit(visitproc visit, void* arg) const {
  for (const Stepping& each : steppings_) Py_VISIT(each.optimizer.ptr());
  for (const auto& [number, check] : checks_) Py_VISIT(check.ptr());
  for (const Result& each : results_) Py_VISIT(each.dtype.ptr());
  for (const py::object* each : {&next_draw_, &form_, &tensor_}) Py_VISIT(each->ptr());
  return 0;
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
  std::vector<py::object> found;
  found.reserve(results_.size());
  for (const Result& result : results_) found.push_back(new_result(result, calls[result.function]));
  {
    const Unlocked unlocked;
    for (size_t s = 0; s < steppings_.size(); ++s) {
      for (const size_t function : steppings_[s].functions) {
        sequence.functions()[function].program->use_state(states[s]);
      }
    }
    sequence.run(data, calls, 1);
  }
  return filled(form_, found);
}

}  // namespace engine::bindings
