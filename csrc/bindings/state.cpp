#include "bindings/state.h"

#include <pybind11/stl.h>

#include "bindings/gil.h"

namespace engine::bindings {
namespace {

/// What a slot is multiplied by to be what the textbook defines: Adam's are kept divided by 1 - beta.
double slot_scale(const OptimizerSpec& optimizer, int slot) {
  const bool scaled = optimizer.kind == Optimizer::kAdam || optimizer.kind == Optimizer::kAmsgrad;
  return scaled ? 1.0 - optimizer.parameters[slot == 0 ? 0 : 1] : 1.0;
}

/// An arena of state, and what its numbers are multiplied by.
struct State {
  float* data;
  double scale;
};

State find_state(const Program& program, const std::string& kind, int number, bool raw = false) {
  static constexpr const char* kKinds[] = {"slot", "average", "accumulated"};
  const auto training = program.training();
  if (!training) throw py::value_error("compile the program before its optimizer has any state");
  const int found = to_index(kind, kKinds, 3, "state");
  const OptimizerSpec& optimizer = training->optimizer;
  const OptimizerStateView arenas = program.state();
  State state{found == 1 ? arenas.averages : arenas.accumulated, 1.0};
  if (found == 0) {
    const int count = slot_count(optimizer.kind);
    if (number < 0 || number >= count) throw py::index_error("there are " + std::to_string(count) + " slots");
    state = {arenas.slots[number], raw ? 1.0 : slot_scale(optimizer, number)};
  }
  if (!state.data) throw py::value_error("this optimizer has no state of the kind '" + kind + "'");
  return state;
}

void scale(py::array_t<float>& array, double factor) {
  float* values = array.mutable_data();
  for (int64_t i = 0; i < array.size(); ++i) values[i] = static_cast<float>(static_cast<double>(values[i]) * factor);
}

py::array_t<float> scaled_copy(const Program& program, size_t v, const State& state) {
  py::array_t<float> copy =
      copy_of(program.device(), program.variables().all[v], state.data + program.state().offsets[v]);
  if (state.scale != 1.0) scale(copy, state.scale);
  return copy;
}

}  // namespace

py::array_t<float> copy_of(const Device& device, const Variable& variable, const float* memory) {
  py::array_t<float> copy(variable.shape);
  device.download(variable, memory, copy.mutable_data());
  return copy;
}

Hold read_lock(const Program& program) {
  const Unlocked unlocked;
  return program.read_lock();
}

std::vector<py::array_t<float, py::array::forcecast | py::array::c_style>> to_arrays(
    const std::vector<std::vector<int64_t>>& shapes, const py::sequence& values) {
  if (values.size() != shapes.size()) {
    throw py::value_error("expected " + std::to_string(shapes.size()) + " weight arrays, got " +
                          std::to_string(values.size()));
  }
  std::vector<py::array_t<float, py::array::forcecast | py::array::c_style>> sources;
  for (size_t v = 0; v < shapes.size(); ++v) {
    sources.emplace_back(py::object(values[v]));
    const py::tuple wanted(py::cast(shapes[v]));
    if (!wanted.equal(sources[v].attr("shape"))) {
      throw py::value_error("weight array " + std::to_string(v) + " must have shape " +
                            py::repr(wanted).cast<std::string>() + ", got " +
                            py::repr(sources[v].attr("shape")).cast<std::string>());
    }
  }
  return sources;
}

std::vector<size_t> chosen(const Program& program, std::optional<size_t> index) {
  const size_t count = program.variables().all.size();
  if (index && *index >= count) throw py::index_error("there are " + std::to_string(count) + " variables");
  std::vector<size_t> numbers;
  for (size_t v = index.value_or(0); v < (index ? *index + 1 : count); ++v) numbers.push_back(v);
  return numbers;
}

void set_iterations(Program& program, int64_t n) {
  constexpr int64_t kMost = int64_t{1} << 53;  // up to which rules that compute with it in double can count
  if (n < 0 || n > kMost) throw py::value_error("`iterations` must lie in 0 ... 2**53, got " + std::to_string(n));
  const Unlocked unlocked;
  const auto lock = program.write_lock();
  program.set_iterations(n);
}

py::list read_state(Program& program, const std::string& kind, int number, bool raw, std::optional<size_t> index) {
  const auto lock = read_lock(program);
  const State state = find_state(program, kind, number, raw);
  py::list copies;
  for (const size_t v : chosen(program, index)) copies.append(scaled_copy(program, v, state));
  return copies;
}

void write_state(Program& program, const std::string& kind, int number, const py::sequence& values, bool raw,
                 std::optional<size_t> index) {
  const std::vector<size_t> numbers = chosen(program, index);
  std::vector<std::vector<int64_t>> shapes;
  for (const size_t v : numbers) shapes.push_back(program.variables().all[v].shape);
  const auto sources = to_arrays(shapes, values);
  std::vector<py::array_t<float>> scaled;
  // pybind11's own copies are null where memory ends.
  for (const auto& source : sources) scaled.emplace_back(py::object(source.attr("copy")()));
  const auto lock = [&] {
    const Unlocked unlocked;
    return program.write_lock();
  }();
  const State state = find_state(program, kind, number, raw);
  for (size_t i = 0; i < scaled.size(); ++i) {
    if (state.scale != 1.0) scale(scaled[i], 1.0 / state.scale);
    const size_t v = numbers[i];
    program.device().upload(program.variables().all[v], scaled[i].data(), state.data + program.state().offsets[v]);
  }
}

py::dict state_counts(Program& program) {
  py::dict counts;
  const auto lock = read_lock(program);
  const auto training = program.training();
  if (!training) return counts;
  counts["slot"] = slot_count(training->optimizer.kind);
  counts["average"] = program.state().averages ? 1 : 0;
  counts["accumulated"] = program.state().accumulated ? 1 : 0;
  return counts;
}

}  // namespace engine::bindings
