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

/// An array of targets or weights, NumPy's or on a GPU.
struct Numbers {
  const void* data = nullptr;
  std::optional<NumberType> type;  // nothing: neither int32 nor float32
  int64_t axes = 0, rows = 0, size = 0;
  const DeviceArray* on_gpu = nullptr;

  bool are(NumberType wanted, int64_t least_axes) const { return type == wanted && axes >= least_axes; }

  /// How many there are for each of the `expected` rows of `x`.
  int64_t per_row(const char* name, int64_t expected) const {
    if (rows != expected) {
      throw py::value_error("`x` has " + std::to_string(expected) + " rows, `" + name + "` has " +
                            std::to_string(rows));
    }
    return size / rows;
  }
};

/// ValueError for an array that kernels can't read as it lies.
Numbers to_numbers(const py::object& given, const char* name) {
  Numbers numbers;
  numbers.on_gpu = as_device_array(given);
  if (numbers.on_gpu) {
    const TensorView& view = numbers.on_gpu->view();
    if (!view.is_contiguous()) throw py::value_error(std::string("`") + name + "` must be contiguous");
    numbers.data = view.data;
    numbers.axes = static_cast<int64_t>(view.shape.size());
    numbers.rows = numbers.axes > 0 ? view.shape[0] : 0;
    numbers.size = view.size();
    if (view.type == NumberType::kInt32 || view.type == NumberType::kFloat32) numbers.type = view.type;
    return numbers;
  }
  if (!py::isinstance<py::array>(given)) return numbers;
  const auto array = py::reinterpret_borrow<py::array>(given);
  if (py::isinstance<py::array_t<int32_t>>(array)) numbers.type = NumberType::kInt32;
  if (py::isinstance<py::array_t<float>>(array)) numbers.type = NumberType::kFloat32;
  if (!numbers.type) return numbers;
  require_readable(array, name);
  numbers.data = array.data();
  numbers.axes = array.ndim();
  numbers.rows = numbers.axes > 0 ? array.shape(0) : 0;
  numbers.size = array.size();
  return numbers;
}

}  // namespace

Dataset::Dataset(const py::object& x, const py::object& y, const py::object& sample_weight, bool records)
    : x_(x), y_(y), sample_weight_(sample_weight), view_(view_of(x)), records_(records) {
  note_gpu(as_device_array(x));
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
  TargetView target;
  TargetSizes sizes;
  OnGpu on_gpu;
  if (!y.is_none()) {
    const Numbers targets = to_numbers(y, "y");
    if (targets.are(NumberType::kInt32, 1)) {
      sizes.labels = targets.per_row("y", view_.rows);
      target.labels = static_cast<const int32_t*>(targets.data);
    } else if (targets.are(NumberType::kFloat32, 2)) {
      sizes.outputs = targets.per_row("y", view_.rows);
      target.dense = static_cast<const float*>(targets.data);
      if (targets.on_gpu) on_gpu.dense = *targets.on_gpu;
    } else {
      throw py::value_error("`y` must be int32 (n, ...) or float32 (n, ..., outputs)");
    }
    note_gpu(targets.on_gpu);
  }
  if (!sample_weight.is_none()) {
    const Numbers weights = to_numbers(sample_weight, "sample_weight");
    if (!weights.are(NumberType::kFloat32, 1)) {
      throw py::value_error("`sample_weight` must be float32 (n,) or (n, ...)");
    }
    sizes.weights = weights.per_row("sample_weight", view_.rows);
    target.sample_weight = static_cast<const float*>(weights.data);
    if (weights.on_gpu) on_gpu.weights = *weights.on_gpu;
    note_gpu(weights.on_gpu);
  }
  view_.targets.push_back(target);
  sizes_.push_back(sizes);
  on_gpu_.push_back(std::move(on_gpu));
}

void Dataset::note_gpu(const DeviceArray* array) {
  if (!array) return;
  if (gpu_ && gpu_ != &array->device()) throw py::value_error("the arrays of a data set are on several GPUs");
  gpu_ = &array->device();
}

void Dataset::require_readable_by(const Device& device) const {
  if (!gpu_ || gpu_ == &device) return;
  throw py::value_error("the arrays are on '" + gpu_->name() + "', the model on '" + device.name() + "'");
}

std::vector<float> Dataset::spread_weights(size_t output, int64_t groups) const {
  std::vector<float> spread;
  const float* weights = view_.targets[output].sample_weight;
  if (!weights || sizes_[output].weights == groups) return spread;
  py::array host;
  if (on_gpu_[output].weights) {
    host = on_gpu_[output].weights->to_host();
    weights = static_cast<const float*>(host.data());
  }
  spread.reserve(static_cast<size_t>(view_.rows * groups));
  for (int64_t b = 0; b < view_.rows; ++b) spread.insert(spread.end(), static_cast<size_t>(groups), weights[b]);
  return spread;
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
  const auto lock = locked(found_.mutex);
  if (!found_.sparse || found_.sparse->scale != scale) {
    const Unlocked unlocked;
    found_.sparse = std::make_shared<const SparseRows>(cpu::sparse_rows(view_, scale));
  }
  return found_.sparse->values == RecordValues::kNone ? nullptr : found_.sparse;
}

bool Dataset::binary(size_t output) const {
  const std::optional<DeviceArray>& on_gpu = on_gpu_[output].dense;
  if (on_gpu) {
    const NumberSummary all = on_gpu->summarize(std::nullopt);
    return all.finite && all.whole && all.lowest >= 0.0 && all.highest <= 1.0;
  }
  const auto lock = locked(found_.mutex);
  found_.binary.resize(sizes_.size());
  if (!found_.binary[output]) {
    const Unlocked unlocked;
    const float* const dense = view_.targets[output].dense;
    const float* const end = dense ? dense + view_.rows * sizes_[output].outputs : nullptr;
    found_.binary[output] = std::all_of(dense, end, [](float t) { return t == 0.0f || t == 1.0f; });
  }
  return *found_.binary[output];
}

std::shared_ptr<const DatasetCopy> Dataset::copy_on(const Device& device) const {
  const auto lock = locked(found_.mutex);
  if (found_.device != &device) {
    const Unlocked unlocked;
    found_.copy = device.copy(view_, sizes_);
    found_.device = &device;
  }
  return found_.copy;
}

void register_dataset(py::module_& m) {
  const auto make = [](const py::object& x, const py::object& y, const py::object& sample_weight, bool records) {
    return std::make_shared<Dataset>(x, y, sample_weight, records);
  };
  py::class_<Dataset, std::shared_ptr<Dataset>> type(m, "Dataset");
  def_init(type, +make, py::arg("x"), py::arg("y") = py::none(), py::arg("sample_weight") = py::none(),
           py::arg("records") = true);
  type.def("__len__", [](const Dataset& data) { return data.view().rows; });
}

}  // namespace engine::bindings
