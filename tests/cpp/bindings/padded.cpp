#include "padded.h"

#include <algorithm>
#include <limits>
#include <string>

#include "bindings/convert.h"
#include "runtime/arena.h"

namespace engine::bindings {
namespace {

/// The most floats of a matrix: 16 GiB. More is a mistake of the caller, and offsets might overflow.
constexpr int64_t kMaxFloats = int64_t{1} << 32;

}  // namespace

FloatArray padded(int64_t rows, int64_t columns) {
  if (rows < 0 || columns < 0 || rows > kMaxFloats || columns > kMaxFloats ||
      leading_dimension(columns) * (rows / 2 + 1) > kMaxFloats) {
    throw py::value_error("no matrix of (" + std::to_string(rows) + ", " + std::to_string(columns) + ")");
  }
  const int64_t ld = leading_dimension(columns);
  auto* arena = new Arena(rows * ld);
  const py::capsule owner(arena, [](void* p) { delete static_cast<Arena*>(p); });
  return view(arena->data(), rows, columns, ld, owner);
}

int64_t leading(const FloatArray& a) {
  if (a.ndim() != 2) throw py::value_error("expected a matrix");
  const int64_t ld = a.strides(0) / static_cast<int64_t>(sizeof(float));
  if (a.strides(1) != static_cast<int64_t>(sizeof(float)) || ld < round_up(a.shape(1), kLineFloats)) {
    throw py::value_error("expected a matrix made by `padded`");
  }
  return ld;
}

void expect_shape(const py::array& a, int64_t rows, int64_t columns, const char* name) {
  if (a.ndim() == 2 && a.shape(0) == rows && a.shape(1) == columns) return;
  throw py::value_error(std::string("`") + name + "` must have shape (" + std::to_string(rows) + ", " +
                        std::to_string(columns) + ")");
}

void expect_size(const py::array& a, int64_t size, const char* name) {
  if (a.ndim() == 1 && a.shape(0) == size) return;
  throw py::value_error(std::string("`") + name + "` must have shape (" + std::to_string(size) + ",)");
}

int64_t row_stride(const FloatArray& a, const char* name) {
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  if (a.ndim() != 2 || a.strides(1) != kFloat || a.strides(0) % kFloat != 0) {
    throw py::value_error(std::string("`") + name + "` must be a matrix with contiguous rows");
  }
  return a.strides(0) / kFloat;
}

float* values(const FloatArray& a) { return const_cast<float*>(a.data()); }

FloatArray pad(const FloatArray& a) {
  if (a.ndim() != 1 && a.ndim() != 2) throw py::value_error("expected a vector or a matrix");
  const bool vector = a.ndim() == 1;
  const int64_t rows = vector ? 1 : a.shape(0), columns = a.shape(a.ndim() - 1);
  FloatArray copy = padded(rows, columns);
  std::fill_n(values(copy), rows * leading(copy), std::numeric_limits<float>::quiet_NaN());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) copy.mutable_at(i, j) = vector ? a.at(j) : a.at(i, j);
  }
  return copy;
}

}  // namespace engine::bindings
