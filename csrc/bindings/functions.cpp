#include "bindings/functions.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "runtime/function_sequence.h"

namespace engine::bindings {

void require_function(const Program& program, size_t arguments) {
  if (!program.model().is_function()) throw py::value_error("a model is no function: predict with it");
  const size_t wanted = program.model().arguments().size();
  if (arguments != wanted) {
    throw py::value_error("the function takes " + std::to_string(wanted) + " arguments, got " +
                          std::to_string(arguments));
  }
}

ArgumentView to_argument(const py::array& array, size_t number, const graph::Shape& shape) {
  if (!py::isinstance<py::array_t<float>>(array)) throw py::value_error("arguments must be float32 arrays");
  require_readable(array, "argument");
  if (array.size() != graph::element_count(shape, 1)) {
    throw py::value_error("argument " + std::to_string(number) + " must have the shape " + graph::text_of(shape) +
                          ", got " + std::to_string(array.size()) + " numbers");
  }
  return {array.data(), RowType::kFloat32, nullptr};
}

std::vector<py::ssize_t> result_shape(const Program& program, size_t result) {
  const graph::Model& model = program.model();
  std::vector<py::ssize_t> lengths;
  for (const graph::Extent& extent : model.shape_of(model.spec().results[result])) {
    lengths.push_back(std::max<int64_t>(extent.fixed, 0));
  }
  return lengths;
}

namespace {

/// Where argument `number` of a function comes from: `given` is an array, which is the same for all batches, the number
/// of an array of the batch, or (function, result). Arrays are appended to `constants`.
FunctionSequence::Source to_source(const py::handle& given, const Program& program, size_t number,
                                   std::vector<py::array>& constants) {
  using Kind = FunctionSequence::Source::Kind;
  FunctionSequence::Source source;
  if (py::isinstance<py::tuple>(given)) {
    source.kind = Kind::kResult;
    std::tie(source.function, source.result) = py::cast<std::pair<size_t, size_t>>(given);
  } else if (py::isinstance<py::array>(given)) {
    constants.push_back(py::cast<py::array>(given));
    source.constant = to_argument(constants.back(), number, program.model().arguments()[number]);
  } else {
    source.kind = Kind::kBatch;
    source.array = given.cast<size_t>();
  }
  return source;
}

std::shared_ptr<HeldSequence> make_sequence(const py::sequence& functions) {
  std::vector<FunctionSequence::Function> all;
  std::vector<py::array> constants;
  for (const py::handle each : functions) {
    const auto pair = py::cast<py::tuple>(each);
    FunctionSequence::Function function{pair[0].cast<std::shared_ptr<Program>>(), {}};
    const auto sources = py::cast<py::sequence>(pair[1]);
    require_function(*function.program, sources.size());
    for (size_t i = 0; i < sources.size(); ++i) {
      function.arguments.push_back(to_source(py::object(sources[i]), *function.program, i, constants));
    }
    all.push_back(std::move(function));
  }
  return std::make_shared<HeldSequence>(HeldSequence{FunctionSequence(std::move(all)), std::move(constants)});
}

/// Views the rows of the arrays. ValueError unless there are enough of them, and `rows` of them have as many numbers as
/// the argument that reads them. With `rows` = 0 and without an order, a single batch is all of the arrays, which may
/// have different lengths.
FunctionSequence::Data to_data(const FunctionSequence& sequence, const std::vector<py::array>& arrays,
                               const py::object& order, int64_t first, int64_t rows, int64_t batches) {
  using Kind = FunctionSequence::Source::Kind;
  if (first < 0 || rows < 0 || batches < 0) throw py::value_error("rows and batches must not be negative");
  const bool whole_arrays = rows == 0 && first == 0 && batches == 1 && order.is_none();
  FunctionSequence::Data data;
  data.first = first;
  data.rows = rows;
  const int64_t end = first + rows * batches;
  int64_t needed = end;  // rows of each array
  if (!order.is_none()) {
    const auto numbers = py::cast<py::array>(order);
    if (!py::isinstance<py::array_t<int32_t>>(numbers)) throw py::value_error("`order` must be an int32 array");
    require_readable(numbers, "order");
    if (numbers.size() < end) throw py::value_error("`order` is shorter than the batches");
    data.order = static_cast<const int32_t*>(numbers.data());
    if (end > first) {
      const auto [least, most] = std::minmax_element(data.order + first, data.order + end);
      if (*least < 0) throw py::value_error("`order` must not hold negative numbers");
      needed = int64_t{*most} + 1;
    }
  }
  for (const py::array& array : arrays) {
    const DatasetView view = array.size() == 0 ? DatasetView{} : view_rows(array);
    if (view.rows < needed) throw py::value_error("an array has fewer rows than the batches");
    data.arrays.push_back({view.x, view.type, view.stride});
  }
  for (const FunctionSequence::Function& function : sequence.functions()) {
    for (size_t i = 0; i < function.arguments.size(); ++i) {
      const FunctionSequence::Source& source = function.arguments[i];
      if (source.kind != Kind::kBatch) continue;
      if (source.array >= arrays.size()) throw py::value_error("there are fewer arrays than the functions read");
      const int64_t numbers = whole_arrays ? arrays[source.array].size() : data.arrays[source.array].stride * rows;
      if (numbers != graph::element_count(function.program->model().arguments()[i], 1)) {
        throw py::value_error("the rows of an array have another size than the argument of a function");
      }
    }
  }
  return data;
}

using Steps = py::array_t<int64_t, kReadable | py::array::forcecast>;
using Rates = py::array_t<double, kReadable | py::array::forcecast>;

py::list run_sequence(const HeldSequence& held, const std::vector<py::array>& arrays, const py::object& order,
                      int64_t first, int64_t rows, int64_t batches, const std::vector<Steps>& steps,
                      const std::vector<Rates>& learning_rates, const std::vector<std::pair<size_t, size_t>>& kept) {
  const FunctionSequence& sequence = held.sequence;
  const FunctionSequence::Data data = to_data(sequence, arrays, order, first, rows, batches);
  const size_t count = sequence.functions().size();
  if (steps.size() != count || learning_rates.size() != count) {
    throw py::value_error("there must be steps and learning rates for each function");
  }
  std::vector<FunctionSequence::Calls> calls;
  for (size_t f = 0; f < count; ++f) {
    if (steps[f].size() != batches || learning_rates[f].size() != batches) {
      throw py::value_error("there must be a step and a learning rate for each batch");
    }
    const size_t results = sequence.functions()[f].program->model().spec().results.size();
    calls.push_back({steps[f].data(), learning_rates[f].data(), std::vector<float*>(results)});
  }
  py::list found;
  for (const auto& [f, r] : kept) {
    if (f >= count || r >= calls[f].kept.size()) throw py::value_error("there is no such result to keep");
    std::vector<py::ssize_t> lengths = result_shape(*sequence.functions()[f].program, r);
    lengths.insert(lengths.begin(), batches);
    py::array_t<float> array(lengths);
    if (calls[f].kept[r]) throw py::value_error("a result can be kept only once");
    calls[f].kept[r] = array.mutable_data();
    found.append(std::move(array));
  }
  const Unlocked unlocked;
  sequence.run(data, calls, batches);
  return found;
}

}  // namespace

void register_functions(py::module_& m) {
  py::class_<HeldSequence, std::shared_ptr<HeldSequence>> type(m, "FunctionSequence");
  type.def("run", &run_sequence, py::arg("arrays"), py::arg("order"), py::arg("first"), py::arg("rows"),
           py::arg("batches"), py::arg("steps"), py::arg("learning_rates"), py::arg("kept"));
  def_init(type, &make_sequence, py::arg("functions"));
}

}  // namespace engine::bindings
