#include "bindings/convert.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "bindings/dict_entries.h"

namespace engine::bindings {
int to_index(const std::string& name, const char* const* names, int count, const char* what) {
  for (int i = 0; i < count; ++i) {
    if (name == names[i]) return i;
  }
  std::string known;
  for (int i = 0; i < count; ++i) known += (i ? ", " : "") + std::string(names[i]);
  fail(std::string("unknown ") + what + " '" + name + "'; known are " + known);
}

Activation to_activation(const py::dict& layer, float (&parameters)[kMaxActivationParameters]) {
  const auto name = get<std::string>(layer, "activation", "linear");
  const auto activation =
      static_cast<Activation>(to_index(name, kActivationNames.of, kActivationNames.kCount, "activation"));
  const auto given = get<std::vector<float>>(layer, "parameters", {});
  const int wanted = parameter_count(activation);
  if (given.size() != static_cast<size_t>(wanted))
    fail("activation '" + name + "' has " + std::to_string(wanted) + " parameters, got " +
         std::to_string(given.size()));
  std::copy(given.begin(), given.end(), parameters);
  return activation;
}

void require_readable(const py::array& array, const char* name) {
  if ((array.flags() & kReadable) != kReadable) {
    fail(std::string("`") + name + "` must be C-contiguous and aligned: pass np.require(" + name +
         ", None, ['C', 'A'])");
  }
}

DatasetView view_rows(const py::array& x) {
  if (x.ndim() < 1 || x.shape(0) < 1) fail("`x` must have at least one row");
  require_readable(x, "x");
  DatasetView rows;
  if (py::isinstance<py::array_t<uint8_t>>(x)) {
    rows.type = RowType::kUint8;
  } else if (py::isinstance<py::array_t<float>>(x)) {
    rows.type = RowType::kFloat32;
  } else if (py::isinstance<py::array_t<double>>(x)) {
    rows.type = RowType::kFloat64;
  } else {
    fail("`x` must be uint8, float32 or float64, got " + py::str(x.dtype()).cast<std::string>());
  }
  rows.x = x.data();
  rows.rows = x.shape(0);
  rows.stride = x.size() / x.shape(0);
  if (rows.rows >= (int64_t{1} << 31)) fail("`x` has 2**31 rows or more; train on parts of it");
  return rows;
}

py::array_t<float> view(float* data, int64_t rows, int64_t columns, int64_t ld, const py::object& owner) {
  constexpr auto kFloat = static_cast<py::ssize_t>(sizeof(float));
  return {{rows, columns}, {ld * kFloat, kFloat}, data, owner};
}

}  // namespace engine::bindings
