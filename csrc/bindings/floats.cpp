#include "bindings/floats.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "runtime/arena.h"

namespace engine::bindings {
namespace {

constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
constexpr int kWritable = py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
/// Candidates for a common element that are looked at before two arrays count as overlapping. What slices, transposes
/// and windows make takes a handful; strides that were invented may take ages.
constexpr int kOverlapWork = 100'000;

std::string type_name(const py::handle& array) {
  return py::str(py::reinterpret_borrow<py::object>(proxy(array).descr)).cast<std::string>();
}

std::string quoted(const char* name) { return std::string("`") + name + "`"; }

/// What to do about numbers that float32 can't hold.
std::string advice(char kind, const char* name) {
  const std::string convert = "pass np.asarray(" + std::string(name) + ", np.float32)";
  if (kind == 'f') return "the engine computes in float32 and would drop digits: " + convert + " if that will do";
  if (kind == 'i' || kind == 'u') {
    return "float32 holds every integer up to 2**24 only: " + convert + " if that will do";
  }
  if (kind == 'c') return "the engine computes with real numbers: multiply real and imaginary parts apart";
  return "expected float32, float16, bool, or integers of at most 16 bits: " + convert;
}

/// Every value of the type is a float32 as well.
bool fits(char kind, py::ssize_t bytes) {
  constexpr py::ssize_t kExactInteger = 2;
  if (kind == 'f') return bytes <= kFloat;
  return kind == 'b' || ((kind == 'i' || kind == 'u') && bytes <= kExactInteger);
}

/// Lowest and highest byte of an array that has any.
std::pair<const char*, const char*> bounds(const py::handle& array) {
  const auto& a = proxy(array);
  const char *low = a.data, *high = a.data;
  for (int i = 0; i < a.nd; ++i) {
    const py::ssize_t reach = (a.dimensions[i] - 1) * a.strides[i];
    (reach < 0 ? low : high) += reach;
  }
  return {low, high + py::reinterpret_borrow<py::dtype>(a.descr).itemsize()};
}

bool has_elements(const py::handle& array) {
  const auto& a = proxy(array);
  return std::find(a.dimensions, a.dimensions + a.nd, 0) == a.dimensions + a.nd;
}

/// Offset of every element in bytes, sorted: do any two lie on each other?
bool collides(const std::vector<std::pair<py::ssize_t, py::ssize_t>>& axes) {
  std::vector<py::ssize_t> offsets{0};
  for (const auto& [stride, extent] : axes) {
    const size_t count = offsets.size();
    for (py::ssize_t i = 1; i < extent; ++i) {
      for (size_t j = 0; j < count; ++j) offsets.push_back(offsets[j] + i * stride);
    }
  }
  std::sort(offsets.begin(), offsets.end());
  const auto near = [](py::ssize_t one, py::ssize_t next) { return next - one < kFloat; };
  return std::adjacent_find(offsets.begin(), offsets.end(), near) != offsets.end();
}

/// Whether an element of a float32 array lies on another. Axes that step over all that the shorter ones reach, as
/// those of slices and transposes do, settle it.
bool overlaps_itself(const py::handle& array) {
  const auto& a = proxy(array);
  if (a.flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ || !has_elements(array)) return false;
  std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;  // stride, extent
  for (int i = 0; i < a.nd; ++i) {
    if (a.dimensions[i] > 1) axes.emplace_back(std::abs(a.strides[i]), a.dimensions[i]);
  }
  std::sort(axes.begin(), axes.end());
  py::ssize_t reach = kFloat;  // bytes that the axes so far cover
  double elements = 1;
  bool nested = true;
  for (const auto& [stride, extent] : axes) {
    nested = nested && stride >= reach;
    reach += stride * (extent - 1);
    elements *= static_cast<double>(extent);
  }
  if (nested) return false;
  return elements * kFloat > static_cast<double>(reach) || collides(axes);
}

/// An array in memory that may have been that of an earlier one: the first access to the pages of new memory takes
/// longer than to fill them.
py::object array_in_large_block(int axes, const py::ssize_t* extents, int64_t bytes, const py::dtype& dtype) {
  using Storage = decltype(allocate(0));
  auto storage = std::make_unique<Storage>(allocate(bytes));
  const void* const data = storage->get();
  const py::capsule owner(storage.get(), [](void* owned) { delete static_cast<Storage*>(owned); });
  storage.release();
  return py::array(dtype, std::vector<py::ssize_t>(extents, extents + axes), data, owner);
}

}  // namespace

py::object float32() {
  const auto& api = py::detail::npy_api::get();
  return py::reinterpret_steal<py::object>(api.PyArray_DescrFromType_(py::detail::npy_api::NPY_FLOAT_));
}

bool is_float32(const py::handle& array) {
  const py::object wanted = float32();
  PyObject* type = proxy(array).descr;
  return type == wanted.ptr() || py::detail::npy_api::get().PyArray_EquivTypes_(type, wanted.ptr());
}

bool lies_in_floats(const py::handle& array) {
  const auto& a = proxy(array);
  if (!(a.flags & kAligned)) return false;
  for (int i = 0; i < a.nd; ++i) {
    if (a.strides[i] % kFloat != 0 && a.dimensions[i] > 1) return false;
  }
  return true;
}

std::string shape_text(int axes, const py::ssize_t* extents) {
  std::string text = "(";
  for (int i = 0; i < axes; ++i) text += (i ? ", " : "") + std::to_string(extents[i]);
  return text + (axes == 1 ? ",)" : ")");
}

Floats to_floats(py::handle value, const char* name) {
  Floats floats{name, py::reinterpret_borrow<py::object>(value), {}};
  const auto& api = py::detail::npy_api::get();
  if (!api.PyArray_Check_(value.ptr())) floats.given = py::module_::import("numpy").attr("asarray")(value);
  if (is_float32(floats.given) && lies_in_floats(floats.given)) {
    floats.array = floats.given;
  } else {
    const auto type = py::reinterpret_borrow<py::dtype>(proxy(floats.given).descr);
    if (!fits(type.kind(), type.itemsize())) {
      throw py::type_error(quoted(name) + " is " + type_name(floats.given) + "; " + advice(type.kind(), name));
    }
    floats.array = py::module_::import("numpy").attr("array")(floats.given, float32(), py::arg("order") = "C");
  }
  const auto& array = proxy(floats.array);
  floats.data = reinterpret_cast<float*>(array.data);
  floats.axes = array.nd;
  floats.extents = array.dimensions;
  floats.strides = array.strides;
  return floats;
}

py::object empty_array(int axes, const py::ssize_t* extents, PyTypeObject* type, bool is_int32) {
  const auto& api = py::detail::npy_api::get();
  const int number = is_int32 ? py::detail::npy_format_descriptor<int32_t>::value : py::detail::npy_api::NPY_FLOAT_;
  auto dtype = py::reinterpret_steal<py::dtype>(api.PyArray_DescrFromType_(number));
  const int64_t bytes = std::accumulate(extents, extents + axes, int64_t{kFloat}, std::multiplies<>());
  if (bytes >= kLargeBlock) {
    py::object large = array_in_large_block(axes, extents, bytes, dtype);
    if (!type) return large;
    auto seen =
        py::reinterpret_steal<py::object>(api.PyArray_View_(large.ptr(), nullptr, reinterpret_cast<PyObject*>(type)));
    if (!seen) throw py::error_already_set();
    return seen;
  }
  auto made = py::reinterpret_steal<py::object>(api.PyArray_NewFromDescr_(
      type ? type : api.PyArray_Type_, dtype.release().ptr(), axes, extents, nullptr, nullptr, 0, nullptr));
  if (!made) throw py::error_already_set();
  return made;
}

void require_output(py::handle out, int axes, const py::ssize_t* extents) {
  if (!py::detail::npy_api::get().PyArray_Check_(out.ptr())) {
    throw py::type_error("`out` must be a float32 array, got " +
                         py::str(py::type::handle_of(out).attr("__name__")).cast<std::string>());
  }
  if (!is_float32(out)) {
    throw py::type_error("`out` must be a float32 array of this machine's byte order, got " + type_name(out));
  }
  const auto& array = proxy(out);
  if (array.nd != axes || !std::equal(extents, extents + axes, array.dimensions)) {
    throw py::value_error("`out` must have the shape of the product, " + shape_text(axes, extents) + ", got " +
                          shape_text(out));
  }
  if (!(array.flags & kWritable)) throw py::value_error("`out` is read-only: pass an array that may be written to");
  if (overlaps_itself(out)) {
    throw py::value_error("elements of `out` lie on each other (strides " + shape_text(array.nd, array.strides) +
                          "): pass an array with memory for each, such as np.empty(" + shape_text(out) +
                          ", np.float32)");
  }
}

void refuse_overlap(py::handle out, const Floats& argument) {
  if (argument.empty() || !has_elements(out) || !has_elements(argument.given)) return;
  const auto [low, high] = bounds(out);
  const auto [first, last] = bounds(argument.given);
  if (high <= first || last <= low) return;
  const py::module_ numpy = py::module_::import("numpy");
  try {
    if (!numpy.attr("shares_memory")(out, argument.given, kOverlapWork).cast<bool>()) return;
  } catch (py::error_already_set& error) {
    if (!error.matches(numpy.attr("exceptions").attr("TooHardError"))) throw;
  }
  throw py::value_error("`out` shares memory with " + quoted(argument.name) + ": pass an array of its own, or " +
                        argument.name + ".copy()");
}

}  // namespace engine::bindings
