#include "bindings/dataset.h"

#include <algorithm>
#include <new>

#include "bindings/compressed.h"
#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "cpu/device.h"

namespace engine::bindings {
namespace {

template <class T>
bool holds(const py::object& array) {
  return py::isinstance<py::array_t<T>>(array);
}

/// How many numbers there are for each of the `rows` of `x`, in an array that has as many entries.
int64_t per_row(const py::array& array, const char* name, int64_t rows) {
  require_readable(array, name);
  if (array.shape(0) != rows) {
    throw py::value_error("`x` has " + std::to_string(rows) + " rows, `" + name + "` has " +
                          std::to_string(array.shape(0)));
  }
  return array.size() / rows;
}

}  // namespace

Dataset::Dataset(const py::object& x, const py::object& y, const py::object& sample_weight, bool records)
    : x_(x), y_(y), sample_weight_(sample_weight), view_(view_of(x)), records_(records) {
  if (!py::isinstance<py::tuple>(y)) {
    add_targets(y, sample_weight);
    return;
  }
  const auto all = py::cast<py::tuple>(y);
  const bool weighted = py::isinstance<py::tuple>(sample_weight);
  if (!weighted && !sample_weight.is_none()) throw py::value_error("`sample_weight` must be a tuple where `y` is one");
  if (weighted && py::cast<py::tuple>(sample_weight).size() != all.size()) {
    throw py::value_error("`sample_weight` must have an entry for each of the " + std::to_string(all.size()) +
                          " outputs");
  }
  for (size_t i = 0; i < all.size(); ++i) {
    add_targets(all[i], weighted ? py::object(py::cast<py::tuple>(sample_weight)[i]) : py::object(py::none()));
  }
}

void Dataset::add_targets(const py::object& y, const py::object& sample_weight) {
  const auto axes = [](const py::object& array) { return py::cast<py::array>(array).ndim(); };
  TargetView target;
  TargetSizes sizes;
  if (holds<int32_t>(y) && axes(y) >= 1) {
    sizes.labels = per_row(y, "y", view_.rows);
    target.labels = static_cast<const int32_t*>(py::cast<py::array>(y).data());
  } else if (holds<float>(y) && axes(y) >= 2) {
    sizes.outputs = per_row(y, "y", view_.rows);
    target.dense = static_cast<const float*>(py::cast<py::array>(y).data());
  } else if (!y.is_none()) {
    throw py::value_error("`y` must be int32 (n, ...) or float32 (n, ..., outputs)");
  }
  if (!sample_weight.is_none()) {
    if (!holds<float>(sample_weight) || axes(sample_weight) < 1) {
      throw py::value_error("`sample_weight` must be float32 (n,) or (n, ...)");
    }
    sizes.weights = per_row(sample_weight, "sample_weight", view_.rows);
    target.sample_weight = static_cast<const float*>(py::cast<py::array>(sample_weight).data());
  }
  view_.targets.push_back(target);
  sizes_.push_back(sizes);
}

/// In a forked child. What another thread was finding out at that moment is half done, and is found out again.
void Dataset::Found::start_over(void* found) {
  auto* const all = static_cast<Found*>(found);
  if (all->mutex.try_lock()) {
    all->mutex.unlock();
  } else {
    new (all) Found;
  }
}

std::shared_ptr<const SparseRows> Dataset::sparse_rows(float scale) const {
  if (!records_) return nullptr;
  const Unlocked unlocked;
  const std::lock_guard<std::mutex> lock(found_.mutex);
  if (!found_.sparse || found_.sparse->scale != scale) {
    found_.sparse = std::make_shared<const SparseRows>(engine::sparse_rows(view_, scale));
  }
  return found_.sparse->values == RecordValues::kNone ? nullptr : found_.sparse;
}

bool Dataset::binary(size_t output) const {
  const Unlocked unlocked;
  const std::lock_guard<std::mutex> lock(found_.mutex);
  found_.binary.resize(sizes_.size());
  if (!found_.binary[output]) {
    const float* const dense = view_.targets[output].dense;
    const float* const end = dense ? dense + view_.rows * sizes_[output].outputs : nullptr;
    found_.binary[output] = std::all_of(dense, end, [](float t) { return t == 0.0f || t == 1.0f; });
  }
  return *found_.binary[output];
}

std::shared_ptr<const DatasetCopy> Dataset::copy_on(const Device& device) const {
  const Unlocked unlocked;
  const std::lock_guard<std::mutex> lock(found_.mutex);
  if (found_.device != &device) {
    found_.copy = device.copy(view_, sizes_);
    found_.device = &device;
  }
  return found_.copy;
}

void register_dataset(py::module_& m) {
  py::class_<Dataset> type(m, "Dataset");
  def_init<const py::object&, const py::object&, const py::object&, bool>(
      type, py::arg("x"), py::arg("y") = py::none(), py::arg("sample_weight") = py::none(), py::arg("records") = true);
  type.def("__len__", [](const Dataset& data) { return data.view().rows; });
}

}  // namespace engine::bindings
