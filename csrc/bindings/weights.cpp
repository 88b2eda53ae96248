#include "bindings/weights.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "runtime/weight_array.h"

namespace engine::bindings {
namespace {

using Arrays = std::vector<std::shared_ptr<WeightArray>>;

WeightLocks locks_of(const Arrays& arrays) {
  WeightLocks locks;
  for (const auto& array : arrays) locks.push_back(array->lock());
  return in_order(std::move(locks));
}

std::shared_ptr<WeightArray> make_array(const py::array_t<float, py::array::forcecast | py::array::c_style>& values,
                                        const std::shared_ptr<WeightArray>& beside) {
  std::vector<int64_t> shape(values.shape(), values.shape() + values.ndim());
  const auto lock = beside ? beside->lock() : std::make_shared<WeightLock>();
  return std::make_shared<WeightArray>(std::move(shape), values.data(), lock);
}

py::list read_arrays(const Arrays& arrays) {
  std::vector<py::array_t<float>> copies;
  std::vector<float*> targets;
  for (const auto& array : arrays) {
    copies.emplace_back(array->shape());
    targets.push_back(copies.back().mutable_data());
  }
  const WeightLocks locks = locks_of(arrays);
  {
    const Unlocked unlocked;
    const Hold hold(locks, false);
    for (size_t i = 0; i < arrays.size(); ++i) arrays[i]->read(targets[i]);
  }
  py::list read;
  for (auto& copy : copies) read.append(std::move(copy));
  return read;
}

void write_arrays(const Arrays& arrays, const py::sequence& values) {
  std::vector<std::vector<int64_t>> shapes;
  for (const auto& array : arrays) shapes.push_back(array->shape());
  const auto sources = to_arrays(shapes, values);
  const WeightLocks locks = locks_of(arrays);
  const Unlocked unlocked;
  const Hold hold(locks, true);
  for (size_t i = 0; i < arrays.size(); ++i) arrays[i]->write(sources[i].data());
}

/// What `ask` answers for an array, whose lock is held meanwhile.
template <bool (*ask)(const WeightArray&)>
bool answer(const WeightArray& array) {
  const WeightLocks locks{array.lock()};
  const Unlocked unlocked;
  const Hold hold(locks, false);
  return ask(array);
}

bool is_stored(const WeightArray& array) { return array.is_stored(); }
bool is_flat(const WeightArray& array) { return array.is_flat() && array.shape().size() == 2; }

}  // namespace

py::array_t<float> copy_of(const Device& device, const Variable& variable, const float* memory) {
  py::array_t<float> copy(variable.shape);
  device.download(variable, memory, copy.mutable_data());
  return copy;
}

Hold hold(const WeightLocks& locks, bool writes) {
  const Unlocked unlocked;
  return Hold(locks, writes);
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

void register_weights(py::module_& m) {
  py::class_<WeightArray, std::shared_ptr<WeightArray>> type(m, "WeightArray");
  def_init(type, &make_array, py::arg("values"), py::arg("beside") = py::none());
  type.def_property_readonly("shape", [](const WeightArray& array) { return py::tuple(py::cast(array.shape())); })
      .def_property_readonly("is_stored", &answer<is_stored>)
      .def_property_readonly("is_flat", &answer<is_flat>);
  m.def("read_arrays", &read_arrays, py::arg("arrays"));
  m.def("write_arrays", &write_arrays, py::arg("arrays"), py::arg("values"));
}

}  // namespace engine::bindings
