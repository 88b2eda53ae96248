#include "runtime/optimizer_state.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/weights.h"

namespace engine::bindings {
namespace {

/// What a slot is multiplied by to be what the textbook defines: Adam's are kept divided by 1 - beta.
double slot_scale(const OptimizerSpec& optimizer, int slot) {
  const bool scaled = optimizer.kind == Optimizer::kAdam || optimizer.kind == Optimizer::kAmsgrad;
  return scaled ? 1.0 - optimizer.parameters[slot == 0 ? 0 : 1] : 1.0;
}

/// An arena of state, and what its numbers are multiplied by.
struct Part {
  float* data;
  double scale;
};

Part find_part(const OptimizerState& state, const std::string& kind, int number, bool raw) {
  static constexpr const char* kKinds[] = {"slot", "average", "accumulated"};
  const int found = to_index(kind, kKinds, 3, "state");
  const OptimizerStateView arenas = state.view();
  Part part{found == 1 ? arenas.averages : arenas.accumulated, 1.0};
  if (found == 0) {
    const int count = slot_count(state.optimizer().kind);
    if (number < 0 || number >= count) throw py::index_error("there are " + std::to_string(count) + " slots");
    part = {arenas.slots[number], raw ? 1.0 : slot_scale(state.optimizer(), number)};
  }
  if (!part.data) throw py::value_error("this optimizer has no state of the kind '" + kind + "'");
  return part;
}

void scale(py::array_t<float>& array, double factor) {
  float* values = array.mutable_data();
  for (int64_t i = 0; i < array.size(); ++i) values[i] = static_cast<float>(static_cast<double>(values[i]) * factor);
}

int64_t offset(const OptimizerState& state, size_t v) { return state.offset(state.arrays()[v].get()); }

/// The numbers of all variables, or the one number that is given; IndexError if there is no such variable.
std::vector<size_t> chosen(const OptimizerState& state, std::optional<size_t> index) {
  const size_t count = state.variables().size();
  if (index && *index >= count) throw py::index_error("there are " + std::to_string(count) + " variables");
  std::vector<size_t> numbers;
  for (size_t v = index.value_or(0); v < (index ? *index + 1 : count); ++v) numbers.push_back(v);
  return numbers;
}

void set_iterations(OptimizerState& state, int64_t n) {
  constexpr int64_t kMost = int64_t{1} << 53;  // up to which rules that compute with it in double can count
  if (n < 0 || n > kMost) throw py::value_error("`iterations` must lie in 0 ... 2**53, got " + std::to_string(n));
  const auto lock = hold(state.locks(), true);
  state.set_iterations(n);
}

/// By variable what the optimizer keeps: slot `number` for the kind "slot", its running mean for "average", the sum of
/// gradients for "accumulated". `raw`: scaled as the core keeps it, so that every bit comes back. `index`: of the one
/// variable that is meant.
py::list read(const OptimizerState& state, const std::string& kind, int number, bool raw, std::optional<size_t> index) {
  const auto lock = hold(state.locks(), false);
  const Part part = find_part(state, kind, number, raw);
  py::list copies;
  for (const size_t v : chosen(state, index)) {
    py::array_t<float> copy = copy_of(state.device(), state.variables()[v], part.data + offset(state, v));
    if (part.scale != 1.0) scale(copy, part.scale);
    copies.append(copy);
  }
  return copies;
}

void write(const OptimizerState& state, const std::string& kind, int number, const py::sequence& values, bool raw,
           std::optional<size_t> index) {
  const std::vector<size_t> numbers = chosen(state, index);
  std::vector<std::vector<int64_t>> shapes;
  for (const size_t v : numbers) shapes.push_back(state.variables()[v].shape);
  const auto sources = to_arrays(shapes, values);
  std::vector<py::array_t<float>> scaled;
  // pybind11's own copies are null where memory ends.
  for (const auto& source : sources) scaled.emplace_back(py::object(source.attr("copy")()));
  const auto lock = hold(state.locks(), true);
  const Part part = find_part(state, kind, number, raw);
  for (size_t i = 0; i < scaled.size(); ++i) {
    const size_t v = numbers[i];
    if (part.scale != 1.0) scale(scaled[i], 1.0 / part.scale);
    state.device().upload(state.variables()[v], scaled[i].data(), part.data + offset(state, v));
  }
}

py::list arrays_of_state(const OptimizerState& state) {
  py::list arrays;
  for (const auto& array : state.arrays()) arrays.append(to_python(array));
  return arrays;
}

/// How many arrays of each kind there are by variable.
py::dict counts(const OptimizerState& state) {
  py::dict counts;
  counts["slot"] = slot_count(state.optimizer().kind);
  counts["average"] = state.view().averages ? 1 : 0;
  counts["accumulated"] = state.view().accumulated ? 1 : 0;
  return counts;
}

}  // namespace

void register_optimizer_state(py::module_& m) {
  py::class_<OptimizerState, std::shared_ptr<OptimizerState>>(m, "OptimizerState")
      .def_property("iterations", &OptimizerState::iterations, &set_iterations)
      .def_property_readonly("arrays", &arrays_of_state)
      .def_property_readonly("counts", &counts)
      .def("read", &read, py::arg("kind"), py::arg("number"), py::arg("raw") = false, py::arg("index") = py::none())
      .def("write", &write, py::arg("kind"), py::arg("number"), py::arg("values"), py::arg("raw") = false,
           py::arg("index") = py::none());
}

}  // namespace engine::bindings
