#include "bindings/device_array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "bindings/devices.h"
#include "bindings/dict_entries.h"
#include "bindings/floats.h"
#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/tensor_exchange.h"
#include "cuda/device.h"

namespace engine::bindings {
namespace {

/// In the order of NumberType.
constexpr const char* kTypeNames[] = {"|b1", "|u1", "|i1",      "<u2", "<i2", "<u4", "<i4", "<u8",
                                      "<i8", "<f2", "bfloat16", "<f4", "<f8", "<c8", "<c16"};

/// How many numbers an array has. Throws std::invalid_argument where strides would be too large, whatever the other
/// lengths are.
int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1, stride = 1;
  for (const int64_t length : shape) {
    if (length > std::numeric_limits<int64_t>::max() / stride) fail("an array has more numbers than any memory holds");
    stride *= std::max(length, int64_t{1});
    count *= length;
  }
  return count;
}

/// The same memory, whose release lets other Python threads go on, since it waits for the GPU.
std::shared_ptr<void> released_unlocked(std::shared_ptr<void> memory) {
  void* const address = memory.get();
  return {address, [memory = std::move(memory)](void*) mutable {
            if (Py_IsInitialized() == 0 || PyGILState_Check() == 0) return memory.reset();
            const Unlocked unlocked;
            memory.reset();
          }};
}

/// The type by which numbers of any type are copied without a change, and how many of it make up one of them.
std::pair<NumberType, int64_t> bits_of(NumberType type) {
  switch (bytes_of(type)) {
    case 1:
      return {NumberType::kUint8, 1};
    case 2:
      return {NumberType::kUint16, 1};
    case 4:
      return {NumberType::kInt32, 1};
    case 8:
      return {NumberType::kUint64, 1};
    default:
      return {NumberType::kUint64, 2};
  }
}

}  // namespace

std::optional<NumberType> type_of(const std::string& name) {
  const auto* const found = std::find(std::begin(kTypeNames), std::end(kTypeNames), name);
  if (found == std::end(kTypeNames)) return std::nullopt;
  return static_cast<NumberType>(found - std::begin(kTypeNames));
}

const char* name_of(NumberType type) { return kTypeNames[static_cast<size_t>(type)]; }

std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= std::max(shape[axis], int64_t{1});
  }
  return strides;
}

DeviceArray::DeviceArray(TensorView view, std::shared_ptr<void> memory, int gpu, bool read_only)
    : view_(std::move(view)),
      memory_(std::move(memory)),
      gpu_(gpu),
      read_only_(read_only),
      device_(&cuda_device(gpu)),
      tensors_(cuda_tensors(gpu)) {}

DeviceArray::DeviceArray(std::vector<int64_t> shape, NumberType type, int gpu)
    : DeviceArray({nullptr, type, shape, contiguous_strides(shape)}, nullptr, gpu, false) {
  memory_ = released_unlocked(tensors_->allocate(count_of(shape) * bytes_of(type)));
  view_.data = memory_.get();
}

py::dtype DeviceArray::dtype() const { return py::dtype(name_of(view_.type)); }

DeviceArray DeviceArray::part(int64_t begin, int64_t end) const {
  DeviceArray part = *this;
  part.view_.data = static_cast<const char*>(view_.data) + begin * view_.strides[0] * bytes_of(view_.type);
  part.view_.shape[0] = end - begin;
  return part;
}

DeviceArray DeviceArray::entry(int64_t index) const {
  DeviceArray entry = part(index, index + 1);
  entry.view_.shape.erase(entry.view_.shape.begin());
  entry.view_.strides.erase(entry.view_.strides.begin());
  return entry;
}

DeviceArray DeviceArray::columns(int64_t begin, int64_t end) const {
  DeviceArray part = *this;
  part.view_.data = static_cast<const char*>(view_.data) + begin * view_.strides[1] * bytes_of(view_.type);
  part.view_.shape[1] = end - begin;
  return part;
}

DeviceArray DeviceArray::reshaped(const std::vector<int64_t>& shape) const {
  if (count_of(shape) != view_.size()) {
    fail("an array of " + std::to_string(view_.size()) + " numbers can't have a shape of " +
         std::to_string(count_of(shape)));
  }
  DeviceArray same = contiguous();
  same.view_.shape = shape;
  same.view_.strides = contiguous_strides(shape);
  return same;
}

DeviceArray DeviceArray::converted(NumberType type) const {
  const bool same = type == view_.type || (type == NumberType::kUint8 && view_.type == NumberType::kBool);
  if (same) {
    DeviceArray numbers = contiguous();
    numbers.view_.type = type;
    return numbers;
  }
  const Unlocked unlocked;
  DeviceArray numbers(view_.shape, type, gpu_);
  const int64_t count = view_.size();
  tensors_->convert(view_, nullptr, type, numbers.memory_.get(), count, count);
  return numbers;
}

DeviceArray DeviceArray::copied(const std::vector<int32_t>* rows) const {
  const auto [type, each] = bits_of(view_.type);
  TensorView bits = view_;
  bits.type = type;
  if (each > 1) {
    for (int64_t& stride : bits.strides) stride *= each;
    bits.shape.push_back(each);
    bits.strides.push_back(1);
  }
  std::vector<int64_t> shape = view_.shape;
  if (rows) shape[0] = static_cast<int64_t>(rows->size());
  const Unlocked unlocked;
  DeviceArray copy(shape, view_.type, gpu_);
  const int64_t count = count_of(shape) * each;
  tensors_->convert(bits, rows, type, copy.memory_.get(), count, count);
  return copy;
}

DeviceArray DeviceArray::on(int gpu) const {
  if (gpu == gpu_) return *this;
  const DeviceArray here = contiguous();
  const Unlocked unlocked;
  DeviceArray there(view_.shape, view_.type, gpu);
  tensors_->copy_bytes(there.memory_.get(), here.view_.data, view_.size() * bytes_of(view_.type));
  return there;
}

py::array DeviceArray::to_host() const {
  const DeviceArray whole = contiguous();
  py::array copy(dtype(), view_.shape);
  void* const to = copy.mutable_data();
  const Unlocked unlocked;
  tensors_->copy_bytes(to, whole.view_.data, view_.size() * bytes_of(view_.type));
  return copy;
}

NumberSummary DeviceArray::summarize(std::optional<double> ignored) const {
  const Unlocked unlocked;
  return tensors_->summarize(view_, ignored);
}

void DeviceArray::write_to(const DeviceArray& matrix, int64_t first) const {
  const int64_t count = view_.shape[0], all = matrix.view_.shape[1];
  if (count == 0) return;
  const Unlocked unlocked;
  tensors_->convert(view_, nullptr, NumberType::kFloat32, static_cast<float*>(matrix.memory_.get()) + first,
                    view_.size() / count, all);
}

DatasetView DeviceArray::rows() const {
  if (view_.shape.empty() || view_.shape[0] < 1) fail("`x` must have at least one row");
  if (!view_.is_contiguous()) fail("`x` must be contiguous");
  DatasetView rows;
  switch (view_.type) {
    case NumberType::kBool:
    case NumberType::kUint8:
      rows.type = RowType::kUint8;
      break;
    case NumberType::kFloat32:
      rows.type = RowType::kFloat32;
      break;
    case NumberType::kFloat64:
      rows.type = RowType::kFloat64;
      break;
    default:
      fail(std::string("`x` must be uint8, float32 or float64, got ") + name_of(view_.type));
  }
  rows.x = view_.data;
  rows.rows = view_.shape[0];
  rows.stride = view_.size() / view_.shape[0];
  if (rows.rows >= (int64_t{1} << 31)) fail("`x` has 2**31 rows or more; train on parts of it");
  return rows;
}

const DeviceArray* as_device_array(const py::handle& object) {
  return py::isinstance<DeviceArray>(object) ? &object.cast<const DeviceArray&>() : nullptr;
}

namespace {

py::object python_of(DeviceArray array) { return to_python(std::make_unique<DeviceArray>(std::move(array))); }

py::tuple shape_of(const DeviceArray& array) { return py::cast(array.view().shape).cast<py::tuple>(); }

/// The number of a GPU, from the name of a device.
int gpu_of(const std::string& name) {
  const std::string found = find_device(name).name();
  const size_t colon = found.find(':');
  if (colon == std::string::npos) fail("'" + name + "' is no GPU");
  return std::stoi(found.substr(colon + 1));
}

/// The array of any library that lies in memory of a GPU; None for all other objects.
py::object device_array(const py::object& tensor) {
  if (as_device_array(tensor)) return tensor;
  auto array = from_other_library(tensor);
  return array ? python_of(std::move(*array)) : py::none();
}

/// The number of an entry of an axis, which may count from the end. IndexError where there is none.
int64_t place_of(int64_t index, int64_t length) {
  if (index < -length || index >= length) {
    throw py::index_error("row " + std::to_string(index) + " does not lie in [0, " + std::to_string(length) + ")");
  }
  return index < 0 ? index + length : index;
}

py::object part(const DeviceArray& array, const py::object& index) {
  constexpr const char* kExpected = "rows must be a number, a slice without a step, or an array of numbers";
  const std::vector<int64_t>& shape = array.view().shape;
  if (shape.empty()) throw py::type_error("an array without axes has no rows");
  if (py::isinstance<py::int_>(index)) {
    return python_of(array.entry(place_of(index.cast<int64_t>(), shape[0])));
  }
  if (py::isinstance<py::slice>(index)) {
    py::ssize_t begin, end, step, count;
    if (!index.cast<py::slice>().compute(shape[0], &begin, &end, &step, &count)) throw py::error_already_set();
    if (step != 1) throw py::type_error(kExpected);
    return python_of(array.part(begin, begin + count));
  }
  if (!py::isinstance<py::array>(index)) throw py::type_error(kExpected);
  const auto given = py::reinterpret_borrow<py::array>(index);
  const char kind = given.dtype().kind();
  if (given.ndim() != 1 || (kind != 'i' && kind != 'u')) throw py::type_error(kExpected);
  const auto numbers = py::array_t<int64_t, py::array::c_style | py::array::forcecast>(given);
  std::vector<int32_t> rows;
  for (py::ssize_t i = 0; i < numbers.size(); ++i) {
    rows.push_back(static_cast<int32_t>(place_of(numbers.data()[i], shape[0])));
  }
  return python_of(array.taken(rows));
}

py::object reshape(const DeviceArray& array, const py::args& lengths) {
  py::sequence wanted = lengths;
  if (lengths.size() == 1 && py::isinstance<py::sequence>(lengths[0])) wanted = lengths[0];
  std::vector<int64_t> shape;
  for (const py::handle length : wanted) shape.push_back(length.cast<int64_t>());
  const auto unknown = std::find(shape.begin(), shape.end(), int64_t{-1});
  if (unknown != shape.end()) {
    *unknown = 1;
    const int64_t others = count_of(shape);
    *unknown = others > 0 ? array.view().size() / others : 0;
  }
  if (std::any_of(shape.begin(), shape.end(), [](int64_t length) { return length < 0; })) {
    fail("lengths of axes must not be negative");
  }
  return python_of(array.reshaped(shape));
}

py::object convert(const DeviceArray& array, const std::string& name) {
  const auto type = type_of(name);
  if (!type || array.view().type >= NumberType::kComplex64) fail("only real numbers can be converted");
  return python_of(array.converted(*type));
}

/// Several arrays (n, columns) as one, float32 (n, columns of all).
py::object side_by_side(const py::sequence& arrays) {
  std::vector<const DeviceArray*> all;
  int64_t columns = 0;
  for (const py::handle each : arrays) {
    const DeviceArray* const array = as_device_array(each);
    if (!array || array->view().shape.size() != 2) fail("expected arrays (n, columns) in memory of a GPU");
    if (!all.empty() && (array->gpu() != all[0]->gpu() || array->view().shape[0] != all[0]->view().shape[0])) {
      fail("expected arrays with as many rows, on one GPU");
    }
    all.push_back(array);
    columns += array->view().shape[1];
  }
  if (all.empty()) fail("expected one array at least");
  DeviceArray joined({all[0]->view().shape[0], columns}, NumberType::kFloat32, all[0]->gpu());
  int64_t first = 0;
  for (const DeviceArray* array : all) {
    array->write_to(joined, first);
    first += array->view().shape[1];
  }
  return python_of(std::move(joined));
}

py::object host_copy(const DeviceArray& array, const py::object& type, const py::object& copy) {
  if (py::isinstance<py::bool_>(copy) && !copy.cast<bool>()) {
    fail("an array in memory of a GPU can't become an array of NumPy without a copy: leave out `copy=False`");
  }
  py::object host = array.to_host();
  return type.is_none() ? host : host.attr("astype")(type, py::arg("copy") = false);
}

py::str text_of(const DeviceArray& array) {
  return py::str("DeviceArray(shape={}, dtype={}, device='{}')")
      .format(shape_of(array), py::str(array.dtype()), array.device().name());
}

constexpr const char* kAbout = R"(An array in memory of a GPU.

A model on a GPU returns one if it is called with a tensor that is there. Other libraries take it without a copy, such as
`torch.from_dlpack(array)`, `cupy.from_dlpack(array)` or `jax.dlpack.from_dlpack(array)`; `array.numpy()` copies it to
an array of NumPy. Its numbers are complete when Python sees it, so that nothing has to be waited for. The memory is
freed when neither this array nor one that shares it is left.

Attributes:
    shape: the lengths of its axes, a tuple.
    dtype: the dtype of NumPy for its numbers.
    ndim: the number of axes.
    size: the number of numbers.
    device: the GPU, such as "cuda:0".
)";

}  // namespace

void register_device_array(py::module_& m) {
  py::class_<DeviceArray> type(m, "DeviceArray", py::is_final(), kAbout);
  type.def_property_readonly("shape", &shape_of)
      .def_property_readonly("dtype", &DeviceArray::dtype)
      .def_property_readonly("ndim", [](const DeviceArray& array) { return array.view().shape.size(); })
      .def_property_readonly("size", [](const DeviceArray& array) { return array.view().size(); })
      .def_property_readonly("device", [](const DeviceArray& array) { return array.device().name(); })
      .def("__len__",
           [](const DeviceArray& array) {
             if (array.view().shape.empty()) throw py::type_error("an array without axes has no length");
             return array.view().shape[0];
           })
      .def("__getitem__", &part, py::arg("rows"))
      .def("__repr__", &text_of)
      .def("numpy", &DeviceArray::to_host, "Returns a copy as an array of NumPy.")
      .def("reshape", &reshape,
           "Returns the same numbers with other axes, without a copy if they lie without gaps.\n\nArgs:\n"
           "    shape: the lengths of the axes; one of them may be -1, which stands for the rest.\n\nRaises:\n"
           "    ValueError: if there are not as many numbers.")
      .def("__array__", &host_copy, py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack__", &to_dlpack, py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
           py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__", &dlpack_device)
      .def_property_readonly("__cuda_array_interface__", &cuda_array_interface)
      .def(
          "_on", [](const DeviceArray& array, const std::string& name) { return python_of(array.on(gpu_of(name))); },
          py::arg("device"))
      .def("_converted", &convert, py::arg("type"))
      .def(
          "_columns",
          [](const DeviceArray& array, int64_t begin, int64_t end) {
            const std::vector<int64_t>& shape = array.view().shape;
            if (shape.size() != 2 || begin < 0 || begin > end || end > shape[1]) fail("there are no such columns");
            return python_of(array.columns(begin, end));
          },
          py::arg("begin"), py::arg("end"))
      .def(
          "_summary",
          [](const DeviceArray& array, const std::optional<double>& ignored) {
            const NumberSummary all = array.summarize(ignored);
            return py::make_tuple(all.lowest, all.highest, all.smallest, all.whole, all.finite);
          },
          py::arg("ignored") = py::none());
  m.def("device_array", &device_array, py::arg("tensor"));
  m.def(
      "empty_on_device",
      [](const std::vector<int64_t>& shape, const std::string& device) {
        return python_of(DeviceArray(shape, NumberType::kFloat32, gpu_of(device)));
      },
      py::arg("shape"), py::arg("device"));
  m.def("side_by_side_on_device", &side_by_side, py::arg("arrays"));
}

}  // namespace engine::bindings
