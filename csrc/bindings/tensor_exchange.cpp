#include "bindings/tensor_exchange.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/dlpack.h"
#include "bindings/gil.h"
#include "cuda/device.h"

namespace engine::bindings {
namespace {

/// More axes than NumPy has are taken for a mistake.
constexpr int kMaxAxes = 64;

[[noreturn]] void refuse(const std::string& message) { throw py::buffer_error(message); }

/// Deletes what another library owns, while Python runs.
void with_python(void (*action)(void*), void* object) {
  if (!Py_IsInitialized()) return;
  const Locked lock;
  const py::error_scope kept;  // an error on its way stays as it is
  action(object);
}

// ---- Checks of what came --------------------------------------------------------------------------------------------

/// The sum of both, or nothing where it doesn't fit.
std::optional<int64_t> added(int64_t a, int64_t b) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}
std::optional<int64_t> multiplied(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

/// How far, in bytes, the first and the last byte of an array lie from its first number. Nothing where that can't be.
std::optional<std::pair<int64_t, int64_t>> reach_of(const TensorView& view) {
  int64_t low = 0, high = 0;
  for (size_t axis = 0; axis < view.shape.size(); ++axis) {
    const auto reach = multiplied(view.shape[axis] - 1, view.strides[axis]);
    if (!reach) return std::nullopt;
    const auto further = added(*reach < 0 ? low : high, *reach);
    if (!further) return std::nullopt;
    (*reach < 0 ? low : high) = *further;
  }
  const auto begin = multiplied(low, bytes_of(view.type)), last = multiplied(high, bytes_of(view.type));
  if (!begin || !last) return std::nullopt;
  const auto end = added(*last, bytes_of(view.type) - 1);
  if (!end) return std::nullopt;
  return std::pair{*begin, *end};
}

/// Throws unless all numbers of the array are in memory of the GPU.
void require_memory(const TensorView& view, const TensorDevice& gpu) {
  int64_t bytes = bytes_of(view.type);
  bool empty = false;
  for (const int64_t length : view.shape) {
    if (length < 0) refuse("a tensor has an axis of length " + std::to_string(length));
    empty = empty || length == 0;
  }
  if (empty) return;
  for (const int64_t length : view.shape) {
    const auto product = multiplied(bytes, length);
    if (!product) refuse("a tensor has more numbers than any memory holds");
    bytes = *product;
  }
  if (!view.data) refuse("a tensor with numbers has no address");
  const auto address = reinterpret_cast<uintptr_t>(view.data);
  const int64_t alignment = std::min(bytes_of(view.type), int64_t{8});
  if (address % static_cast<uintptr_t>(alignment) != 0) refuse("the numbers of a tensor are not aligned");
  const auto reach = reach_of(view);
  const auto begin = reach ? added(static_cast<int64_t>(address), reach->first) : std::nullopt;
  const auto end = reach ? added(static_cast<int64_t>(address), reach->second) : std::nullopt;
  const auto pointer = [](int64_t place) { return reinterpret_cast<const void*>(static_cast<uintptr_t>(place)); };
  if (!begin || !end || *begin < 0 || !gpu.holds(pointer(*begin), pointer(*end))) {
    refuse("the address of a tensor is not memory of its GPU");
  }
}

/// The array of a view that has been filled in; bfloat16, which NumPy lacks, becomes float32.
DeviceArray checked(TensorView view, std::shared_ptr<void> owner, int gpu, bool read_only) {
  require_memory(view, *cuda_tensors(gpu));
  DeviceArray array(std::move(view), std::move(owner), gpu, read_only);
  return array.view().type == NumberType::kBfloat16 ? array.converted(NumberType::kFloat32) : array;
}

// ---- DLPack ---------------------------------------------------------------------------------------------------------

NumberType type_of(const dlpack::Type& type) {
  const auto bytes = std::to_string(type.bits / 8);
  const char* kind = "";
  switch (type.code) {
    case dlpack::kInt:
      kind = "i";
      break;
    case dlpack::kUint:
      kind = "u";
      break;
    case dlpack::kFloat:
      kind = "f";
      break;
    case dlpack::kComplex:
      kind = "c";
      break;
    case dlpack::kBool:
      kind = "b";
      break;
    default:
      break;
  }
  std::optional<NumberType> found;
  if (type.code == dlpack::kBfloat && type.bits == 16) found = NumberType::kBfloat16;
  if (*kind && type.bits % 8 == 0) found = bindings::type_of((type.bits == 8 ? "|" : "<") + std::string(kind) + bytes);
  if (!found || type.lanes != 1) {
    throw py::type_error("a tensor of DLPack's type code " + std::to_string(type.code) + " with " +
                         std::to_string(type.bits) + " bits and " + std::to_string(type.lanes) +
                         " lanes can't be read: convert it to float32 first");
  }
  return *found;
}

DeviceArray from_tensor(const dlpack::Tensor& tensor, std::shared_ptr<void> owner, bool read_only) {
  if (tensor.device.type != dlpack::kCuda && tensor.device.type != dlpack::kCudaManaged) {
    refuse("a tensor that should be on a GPU is in memory of DLPack's device type " +
           std::to_string(tensor.device.type));
  }
  cuda_device(tensor.device.index);  // throws where there is none
  if (tensor.axes < 0 || tensor.axes > kMaxAxes) {
    refuse("a tensor has " + std::to_string(tensor.axes) + " axes");
  }
  if (tensor.axes > 0 && !tensor.shape) refuse("a tensor has no shape");
  TensorView view;
  view.type = type_of(tensor.type);
  view.shape.assign(tensor.shape, tensor.shape + tensor.axes);
  if (tensor.strides) {
    view.strides.assign(tensor.strides, tensor.strides + tensor.axes);
  } else if (std::all_of(view.shape.begin(), view.shape.end(), [](int64_t length) { return length >= 0; })) {
    int64_t stride = 1;
    view.strides.resize(view.shape.size());
    for (size_t axis = view.shape.size(); axis-- > 0;) {
      view.strides[axis] = stride;
      const auto next = multiplied(stride, std::max(view.shape[axis], int64_t{1}));
      if (!next) refuse("a tensor has more numbers than any memory holds");
      stride = *next;
    }
  } else {
    view.strides.assign(view.shape.size(), 0);  // the wrong length is refused below
  }
  view.data = reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(tensor.data) + tensor.byte_offset);
  if (!tensor.data) view.data = nullptr;
  return checked(std::move(view), std::move(owner), tensor.device.index, read_only);
}

template <class Managed>
std::shared_ptr<void> owner_of(Managed* managed) {
  return {managed, [](void* given) {
            with_python(
                [](void* object) {
                  auto* const all = static_cast<Managed*>(object);
                  if (all->deleter) all->deleter(all);
                },
                given);
          }};
}

/// Takes the array out of a capsule, which then is a used one.
DeviceArray from_capsule(const py::object& capsule) {
  PyObject* const object = capsule.ptr();
  const bool versioned = PyCapsule_IsValid(object, dlpack::kVersionedName) != 0;
  if (!versioned && PyCapsule_IsValid(object, dlpack::kName) == 0) {
    refuse("`__dlpack__` must return a capsule named 'dltensor' or 'dltensor_versioned', which nobody has used, got " +
           py::repr(capsule).cast<std::string>());
  }
  void* const managed = PyCapsule_GetPointer(object, versioned ? dlpack::kVersionedName : dlpack::kName);
  if (PyCapsule_SetName(object, versioned ? dlpack::kUsedVersionedName : dlpack::kUsedName) != 0) {
    throw py::error_already_set();
  }
  if (!versioned) {
    auto* const old = static_cast<dlpack::ManagedTensor*>(managed);
    return from_tensor(old->tensor, owner_of(old), false);
  }
  auto* const given = static_cast<dlpack::VersionedTensor*>(managed);
  auto owner = owner_of(given);
  if (given->version.major != dlpack::kMajorVersion) {
    refuse("a tensor comes by version " + std::to_string(given->version.major) + " of DLPack; expected version " +
           std::to_string(dlpack::kMajorVersion));
  }
  return from_tensor(given->tensor, std::move(owner), (given->flags & dlpack::kReadOnly) != 0);
}

/// The number of the GPU in whose memory DLPack says that a tensor is; nothing where it is elsewhere.
std::optional<int> gpu_by_dlpack(const py::object& tensor) {
  if (!py::hasattr(tensor, "__dlpack__") || !py::hasattr(tensor, "__dlpack_device__")) return std::nullopt;
  try {
    const auto place = tensor.attr("__dlpack_device__")().cast<std::pair<py::int_, py::int_>>();
    const auto type = place.first.cast<int64_t>(), index = place.second.cast<int64_t>();
    const bool is_gpu = type == dlpack::kCuda || type == dlpack::kCudaManaged;
    if (!is_gpu || index < 0 || index > std::numeric_limits<int>::max()) return std::nullopt;
    return static_cast<int>(index);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;  // such as Ctrl-C
  } catch (const py::cast_error&) {
  }
  return std::nullopt;  // such as an array that is on several devices, which NumPy may read
}

DeviceArray by_dlpack(const py::object& tensor, int gpu) {
  cuda_device(gpu);  // throws where there is none
  const TensorDevice& tensors = *cuda_tensors(gpu);
  const uintptr_t stream = tensors.stream();
  const py::object export_tensor = tensor.attr("__dlpack__");
  const py::int_ handle(stream);
  py::object capsule;
  try {
    capsule = export_tensor(py::arg("stream") = handle,
                            py::arg("max_version") = py::make_tuple(dlpack::kMajorVersion, dlpack::kMinorVersion));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    capsule = export_tensor(py::arg("stream") = handle);  // libraries from before version 1.0
  }
  {
    const Unlocked unlocked;
    tensors.wait_for(stream);
  }
  return from_capsule(capsule);
}

// ---- The CUDA array interface ---------------------------------------------------------------------------------------

/// The type in an entry "typestr", such as "<f4".
NumberType type_of(std::string name) {
  if (name.size() > 2 && name[0] == '=') name[0] = '<';
  if (name.size() == 3 && name[2] == '1') name[0] = '|';
  const auto found = bindings::type_of(name);
  if (!found || *found == NumberType::kBfloat16) {
    throw py::type_error("a tensor of the type '" + name + "' can't be read: convert it to float32 first");
  }
  return *found;
}

DeviceArray by_interface(const py::object& tensor, const py::dict& given) {
  const auto entry = [&](const char* name) { return given.attr("get")(name).cast<py::object>(); };
  const auto required = [&](const char* name) {
    if (entry(name).is_none()) refuse(std::string("`__cuda_array_interface__` has no entry '") + name + "'");
    return entry(name);
  };
  if (!entry("mask").is_none()) throw py::type_error("a tensor has a mask: fill its masked entries first");
  TensorView view;
  view.type = type_of(required("typestr").cast<std::string>());
  view.shape = required("shape").cast<std::vector<int64_t>>();
  if (view.shape.size() > kMaxAxes) refuse("a tensor has " + std::to_string(view.shape.size()) + " axes");
  const auto [address, read_only] = required("data").cast<std::pair<uintptr_t, bool>>();
  view.data = reinterpret_cast<const void*>(address);
  const int64_t bytes = bytes_of(view.type);
  int64_t stride = bytes;
  view.strides.resize(view.shape.size());
  for (size_t axis = view.shape.size(); axis-- > 0;) {
    view.strides[axis] = stride;
    const auto next = multiplied(stride, std::max(view.shape[axis], int64_t{1}));
    if (!next) refuse("a tensor has more numbers than any memory holds");
    stride = *next;
  }
  if (const py::object strides = entry("strides"); !strides.is_none()) {
    view.strides = strides.cast<std::vector<int64_t>>();
    if (view.strides.size() != view.shape.size()) refuse("a tensor has another number of strides than of axes");
  }
  for (int64_t& each : view.strides) {
    if (each % bytes != 0) refuse("the strides of a tensor are no multiples of the size of its numbers");
    each /= bytes;
  }
  const int gpu = cuda_device_of(view.data).value_or(0);  // without numbers it doesn't matter
  cuda_device(gpu);
  // Before version 3 nothing says in which stream the numbers are made.
  std::optional<uintptr_t> stream;
  const bool says_stream = given.contains("stream");
  if (says_stream && !given["stream"].is_none()) {
    if (py::isinstance<py::bool_>(given["stream"])) refuse("the stream of a tensor is True or False");
    stream = given["stream"].cast<uintptr_t>();
    if (*stream == 0)
      refuse("the stream 0 is ambiguous: pass 1 for CUDA's legacy default stream, or 2 for that of a thread");
  }
  if (stream || !says_stream) {
    const Unlocked unlocked;
    cuda_tensors(gpu)->wait_for(stream);
  }
  std::shared_ptr<void> owner(new py::object(tensor), [](void* held) {
    with_python([](void* object) { delete static_cast<py::object*>(object); }, held);
  });
  return checked(std::move(view), std::move(owner), gpu, read_only);
}

}  // namespace

std::optional<DeviceArray> from_other_library(const py::object& tensor) {
  if (!cuda_is_built()) return std::nullopt;
  if (const auto gpu = gpu_by_dlpack(tensor)) return by_dlpack(tensor, *gpu);
  if (!py::hasattr(tensor, "__cuda_array_interface__")) return std::nullopt;
  try {
    return by_interface(tensor, tensor.attr("__cuda_array_interface__").cast<py::dict>());
  } catch (const py::cast_error& error) {
    throw py::type_error(std::string("`__cuda_array_interface__` has an entry of a wrong type: ") + error.what());
  }
}

// ---- To other libraries ---------------------------------------------------------------------------------------------

namespace {

/// An array that another library has: its memory lives as long as this.
template <class Managed>
struct Exported {
  Managed managed;
  std::shared_ptr<void> memory;
  std::vector<int64_t> shape, strides;
};

dlpack::Type type_for(NumberType type) {
  const auto bits = static_cast<uint8_t>(8 * bytes_of(type));
  switch (name_of(type)[1]) {
    case 'b':
      return {dlpack::kBool, bits, 1};
    case 'u':
      return {dlpack::kUint, bits, 1};
    case 'i':
      return {dlpack::kInt, bits, 1};
    case 'c':
      return {dlpack::kComplex, bits, 1};
    default:
      return {dlpack::kFloat, bits, 1};
  }
}

/// A capsule that deletes the array unless somebody has taken it out.
template <class Managed>
py::object export_as(const DeviceArray& array, const char* name, bool is_copy = false) {
  auto exported = std::make_unique<Exported<Managed>>();
  exported->memory = array.memory();
  exported->shape = array.view().shape;
  exported->strides = array.view().strides;
  Managed& managed = exported->managed;
  managed.context = exported.get();
  managed.deleter = [](Managed* all) { delete static_cast<Exported<Managed>*>(all->context); };
  managed.tensor = {const_cast<void*>(array.view().data),
                    {dlpack::kCuda, array.gpu()},
                    static_cast<int32_t>(array.view().shape.size()),
                    type_for(array.view().type),
                    exported->shape.data(),
                    exported->strides.data(),
                    0};
  if constexpr (std::is_same_v<Managed, dlpack::VersionedTensor>) {
    managed.version = {dlpack::kMajorVersion, dlpack::kMinorVersion};
    managed.flags = (array.read_only() ? dlpack::kReadOnly : 0) | (is_copy ? dlpack::kIsCopied : 0);
  }
  PyObject* const capsule = PyCapsule_New(&managed, name, [](PyObject* object) {
    constexpr bool kVersioned = std::is_same_v<Managed, dlpack::VersionedTensor>;
    const char* const unused = kVersioned ? dlpack::kVersionedName : dlpack::kName;
    if (PyCapsule_IsValid(object, unused) == 0) return;
    auto* const left = static_cast<Managed*>(PyCapsule_GetPointer(object, unused));
    left->deleter(left);
  });
  if (!capsule) throw py::error_already_set();
  exported.release();
  return py::reinterpret_steal<py::object>(capsule);
}

}  // namespace

py::tuple dlpack_device(const DeviceArray& array) {
  return py::make_tuple(static_cast<int>(dlpack::kCuda), array.gpu());
}

py::object to_dlpack(const DeviceArray& array, const py::object& stream, const py::object& max_version,
                     const py::object& device, const py::object& copy) {
  // The numbers are complete, so that the stream of who reads them has nothing to wait for.
  if (!stream.is_none() && !py::isinstance<py::int_>(stream)) {
    throw py::type_error("`stream` must be a number or None");
  }
  const bool copies = !copy.is_none() && copy.cast<bool>();
  if (!device.is_none() && !device.equal(dlpack_device(array))) {
    const bool to_host = device.equal(py::make_tuple(static_cast<int>(dlpack::kCpu), 0));
    if (!to_host || (!copy.is_none() && !copies)) {
      refuse("the array is on '" + array.device().name() + "', and can be copied to the CPU alone");
    }
    const py::object export_array = array.to_host().attr("__dlpack__");
    return max_version.is_none() ? export_array() : export_array(py::arg("max_version") = max_version);
  }
  const bool versioned = !max_version.is_none() && max_version[py::int_(0)].cast<int64_t>() >= dlpack::kMajorVersion;
  const DeviceArray given = copies ? array.copied(nullptr) : array;
  if (versioned) return export_as<dlpack::VersionedTensor>(given, dlpack::kVersionedName, copies);
  if (given.read_only() && !copies) {
    refuse("the array is read-only, which versions of DLPack before 1.0 can't say: pass max_version=(1, 0)");
  }
  return export_as<dlpack::ManagedTensor>(given, dlpack::kName);
}

py::dict cuda_array_interface(const DeviceArray& array) {
  const TensorView& view = array.view();
  py::dict all;
  all["shape"] = py::cast(view.shape).cast<py::tuple>();
  all["typestr"] = name_of(view.type);
  all["data"] = py::make_tuple(view.size() == 0 ? 0 : reinterpret_cast<uintptr_t>(view.data), array.read_only());
  all["version"] = 3;
  all["stream"] = py::none();  // the numbers are complete
  all["strides"] = py::none();
  if (!view.is_contiguous()) {
    std::vector<int64_t> strides = view.strides;
    for (int64_t& stride : strides) stride *= bytes_of(view.type);
    all["strides"] = py::cast(strides).cast<py::tuple>();
  }
  return all;
}

}  // namespace engine::bindings
