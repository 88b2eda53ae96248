#include "bindings/step_call.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "bindings/floats.h"
#include "bindings/gil.h"
#include "cpu/device.h"
#include "cpu/dispatch.h"
#include "cpu/integers.h"
#include "runtime/optimizer_state.h"

namespace engine::bindings {
namespace {

/// Numbers from which on letting other threads at the interpreter takes less time than their conversion.
constexpr int64_t kManyNumbers = 1 << 14;

int64_t numbers_in(const py::handle& array) {
  const auto& proxied = proxy(array);
  int64_t numbers = 1;
  for (int i = 0; i < proxied.nd; ++i) numbers *= proxied.dimensions[i];
  return numbers;
}

/// Calls f(threads), which converts so many numbers, and lets other threads at the interpreter if they are many.
template <class F>
void convert_numbers(int64_t numbers, F&& f) {
  if (numbers < kManyNumbers) return f(1);
  const Unlocked unlocked;
  f(cpu::device().threads());
}

/// Integers as a float32 array, and the least and the largest of them.
struct Converted {
  py::object floats;
  IntegerRange range;
};

/// `array` has elements that lie side by side, aligned and in this machine's order of bytes.
template <class T>
Converted floats_of_integers(const py::handle& array) {
  const auto& proxied = proxy(array);
  py::object floats = empty_array(proxied.nd, proxied.dimensions);
  const auto* const from = reinterpret_cast<const T*>(proxied.data);
  auto* const to = reinterpret_cast<float*>(proxy(floats).data);
  const int64_t numbers = numbers_in(array);
  IntegerRange range{};
  if (numbers > 0) {
    convert_numbers(numbers,
                    [&](int threads) { range = cpu::integers_to_floats(cpu::kernels(), from, to, numbers, threads); });
  }
  return {floats, range};
}

/// The least and the largest of bytes that lie side by side.
IntegerRange range_of_bytes(const py::handle& array) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(proxy(array).data);
  const int64_t numbers = numbers_in(array);
  uint8_t least = numbers > 0 ? bytes[0] : uint8_t{0}, largest = least;
  for (int64_t j = 0; j < numbers; ++j) {
    least = std::min(least, bytes[j]);
    largest = std::max(largest, bytes[j]);
  }
  return {least, largest};
}

/// Integers of any kind, layout and order of bytes, as floats. Those beyond int64 get the largest int64 in the range.
Converted converted_integers(const py::object& array) {
  using Int64s = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
  constexpr int kPlain = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  const bool is_plain = (proxy(array).flags & kPlain) == kPlain;
  if (is_plain && py::isinstance<py::array_t<int32_t>>(array)) return floats_of_integers<int32_t>(array);
  const py::object integers = is_plain && py::isinstance<py::array_t<int64_t>>(array) ? array : Int64s::ensure(array);
  if (!integers) throw py::error_already_set();
  Converted converted = floats_of_integers<int64_t>(integers);
  const auto type = py::reinterpret_borrow<py::dtype>(proxy(array).descr);
  if (type.kind() == 'u' && converted.range.least < 0) {
    converted.floats = py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(array);
    if (!converted.floats) throw py::error_already_set();
    converted.range = {0, std::numeric_limits<int64_t>::max()};
  }
  return converted;
}

/// An array as programs read it, what keeps its memory, and the range of integers; that of bytes where it is asked for.
struct Readable {
  py::object owner;
  FunctionSequence::BatchArray view;
  IntegerRange range{};
};

/// Bools and uint8 stay bytes, and other real numbers become float32. ValueError for anything else.
Readable readable(const py::object& array, bool needs_range) {
  constexpr int kContiguous = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
  const auto& proxied = proxy(array);
  const auto type = py::reinterpret_borrow<py::dtype>(proxied.descr);
  const bool is_contiguous = (proxied.flags & kContiguous) != 0;
  const char kind = type.kind();
  if (kind == 'b' || (kind == 'u' && type.itemsize() == 1)) {
    py::object bytes = is_contiguous ? array : py::array::ensure(array, py::array::c_style);
    if (!bytes) throw py::error_already_set();
    const IntegerRange range = needs_range && kind == 'u' ? range_of_bytes(bytes) : IntegerRange{};
    return {bytes, {proxy(bytes).data, RowType::kUint8, 0}, range};
  }
  if (is_contiguous && (proxied.flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_) && is_float32(array)) {
    return {array, {proxied.data, RowType::kFloat32, 0}};
  }
  if (!std::strchr("biuf", kind)) {
    view_rows(py::reinterpret_borrow<py::array>(array));
    throw py::value_error("arrays must hold real numbers");
  }
  if (kind != 'f') {
    Converted converted = converted_integers(array);
    const void* const data = proxy(converted.floats).data;
    return {std::move(converted.floats), {data, RowType::kFloat32, 0}, converted.range};
  }
  py::object floats = py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(array);
  if (!floats) throw py::error_already_set();
  return {floats, {proxy(floats).data, RowType::kFloat32, 0}};
}

bool within(const IntegerRange& range, const IntegerRange& limits) {
  return range.least >= limits.least && range.largest <= limits.largest;
}

/// Puts int32 numbers in the place of the floats that a function has written into an array of int32.
void convert_to_integers(const py::object& array) {
  void* const data = proxy(array).data;
  const int64_t numbers = numbers_in(array);
  bool fit = true;
  convert_numbers(numbers, [&](int threads) {
    fit = cpu::floats_to_integers(cpu::kernels(), static_cast<const float*>(data), static_cast<int32_t*>(data), numbers,
                                  threads);
  });
  if (!fit && PyErr_WarnEx(PyExc_RuntimeWarning, "invalid value encountered in cast", 1) != 0) {
    throw py::error_already_set();
  }
}

/// Returns a tensor as an array of NumPy's own class.
py::object plain(const py::object& array) {
  return array.attr("view")(
      py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(py::detail::npy_api::get().PyArray_Type_)));
}

}  // namespace

StepCall::StepCall(std::shared_ptr<const HeldSequence> sequence, std::vector<size_t> read,
                   const py::sequence& optimizers, const std::vector<bool>& draws, py::object next_draw,
                   std::vector<std::pair<size_t, py::object>> checks, const py::object& integers,
                   const py::sequence& after, const py::tuple& results, py::object tensor)
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
  limits_.resize(read_.size());
  if (!integers.is_none()) read_integers(integers);
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

void StepCall::read_integers(const py::tuple& given) {
  const auto limits = given[0].cast<std::vector<std::optional<std::pair<int64_t, int64_t>>>>();
  if (limits.size() != read_.size()) throw py::value_error("there must be limits or None for each array");
  for (size_t i = 0; i < limits.size(); ++i) {
    if (limits[i]) limits_[i] = IntegerRange{limits[i]->first, limits[i]->second};
  }
  for (const auto& [function, result, most] : given[1].cast<std::vector<std::tuple<size_t, size_t, float>>>()) {
    require_result(function, result, 1);
    magnitudes_.push_back({function, result, most});
  }
  require_exact_ = given[2];
}

/// ValueError unless there is a result of so many numbers.
void StepCall::require_result(size_t function, size_t result, int64_t numbers) const {
  const auto& functions = held_->sequence.functions();
  if (function >= functions.size() || result >= functions[function].program->model().spec().results.size()) {
    throw py::value_error("there is no such result to keep");
  }
  if (numbers != held_->sequence.result_numbers(function, result)) {
    throw py::value_error("the shape of a result has another number of numbers than the result");
  }
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
    const py::object dtype = given[4].is_none() ? py::none() : py::object(py::dtype::from_args(given[4]));
    const bool is_int32 = !dtype.is_none() && dtype.equal(py::dtype::of<int32_t>());
    value = {Kind::kResult, 0, given[3].cast<std::vector<py::ssize_t>>(), dtype, {}, {}};
    value.number = place_of({given[1].cast<size_t>(), given[2].cast<size_t>(), value.shape, is_result, is_int32});
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
  int64_t numbers = 1;
  for (const py::ssize_t length : result.shape) numbers *= length;
  require_result(result.function, result.result, numbers);
  const auto same = [&](const Kept& each) { return each.function == result.function && each.result == result.result; };
  const auto found = std::find_if(kept_.begin(), kept_.end(), same);
  const auto place = static_cast<size_t>(found - kept_.begin());
  if (found == kept_.end()) kept_.push_back(result);
  kept_[place].is_tensor |= result.is_tensor;
  kept_[place].is_int32 &= result.is_int32;
  return place;
}

/// Returns a new array for a result, which its function writes in this call.
py::object StepCall::new_result(const Kept& result, FunctionSequence::Calls& calls) const {
  py::object array =
      empty_array(static_cast<int>(result.shape.size()), result.shape.data(),
                  result.is_tensor ? reinterpret_cast<PyTypeObject*>(tensor_.ptr()) : nullptr, result.is_int32);
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
      const Kept& kept = kept_[value.number];
      py::object array = known.results[value.number];
      if (!is_result && kept.is_tensor) array = plain(array);
      if (value.shape != kept.shape) array = array.attr("reshape")(value.shape);
      return value.object.is_none() || kept.is_int32 ? array : array.attr("astype")(value.object);
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
  for (const py::object* each : {&next_draw_, &require_exact_, &tensor_}) Py_VISIT(each->ptr());
  return visit_value(results_, visit, arg);
}

/// Asks whether integers may be rounded, if a range or a magnitude is beyond its limit; NaN is.
void StepCall::require_integers(const std::vector<IntegerRange>& ranges, const std::vector<float>* magnitudes) const {
  bool all_within = true;
  for (size_t i = 0; i < ranges.size(); ++i) {
    all_within = all_within && (!limits_[i] || within(ranges[i], *limits_[i]));
  }
  for (size_t i = 0; magnitudes && i < magnitudes->size(); ++i) {
    all_within = all_within && (*magnitudes)[i] <= magnitudes_[i].most;
  }
  if (all_within) return;
  py::list came;
  for (const IntegerRange& each : ranges) came.append(py::make_tuple(each.least, each.largest));
  require_exact_(came, magnitudes ? py::cast(*magnitudes) : py::none());
}

py::object StepCall::run(const std::vector<py::object>& arrays) const {
  const FunctionSequence& sequence = held_->sequence;
  for (const auto& [number, check] : checks_) ask(check, arrays.at(number));
  std::vector<py::object> owners;
  std::vector<IntegerRange> ranges(read_.size());
  FunctionSequence::Data data;
  owners.reserve(read_.size());
  data.arrays.reserve(read_.size());
  for (size_t i = 0; i < read_.size(); ++i) {
    Readable each = readable(arrays.at(read_[i]), static_cast<bool>(require_exact_));
    if (numbers_in(each.owner) != sizes_[i]) throw py::value_error("an array has another size than the function reads");
    data.arrays.push_back(each.view);
    ranges[i] = each.range;
    owners.push_back(std::move(each.owner));
  }
  require_integers(ranges, nullptr);
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
  std::vector<float> magnitudes(magnitudes_.size());
  for (size_t i = 0; i < magnitudes_.size(); ++i) {
    calls[magnitudes_[i].function].kept[magnitudes_[i].result] = &magnitudes[i];
  }
  {
    const Unlocked unlocked;
    for (size_t s = 0; s < steppings_.size(); ++s) {
      for (const size_t function : steppings_[s].functions) {
        sequence.functions()[function].program->use_state(states[s]);
      }
    }
    sequence.run(data, calls, 1);
  }
  if (!magnitudes.empty()) require_integers(ranges, &magnitudes);
  for (size_t i = 0; i < kept_.size(); ++i) {
    if (kept_[i].is_int32) convert_to_integers(known.results[i]);
  }
  for (const MethodCall& each : after_) {
    const py::object method = each.object.attr(each.method);
    method(*filled(each.args, known, false), **filled(each.options, known, false));
  }
  return filled(results_, known, true);
}

}  // namespace engine::bindings
