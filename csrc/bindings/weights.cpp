#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/state.h"
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
