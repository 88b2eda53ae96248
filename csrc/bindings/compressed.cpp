#include "bindings/compressed.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "bindings/csr_indices.h"
#include "bindings/device_array.h"
#include "bindings/dict_entries.h"
#include "bindings/instances.h"
#include "bindings/register.h"

namespace engine::bindings {
namespace {

template <class To, class From>
std::vector<To> copied(const py::array& array, int64_t most, const char* name) {
  const auto* values = static_cast<const From*>(array.data());
  std::vector<To> copy(static_cast<size_t>(array.size()));
  if (copy_indices(values, array.size(), most, copy.data())) return copy;
  int64_t wrong = 0;
  while (wrong + 1 < array.size() && values[wrong] >= 0 && values[wrong] <= most) ++wrong;
  fail(std::string("`") + name + "` must lie in [0, " + std::to_string(most) + "], but entry " + std::to_string(wrong) +
       " is " + std::to_string(values[wrong]));
}

/// Indices of an array of `most` + 1 entries.
template <class To>
std::vector<To> to_indices(const py::array& array, int64_t most, const char* name) {
  if (array.ndim() != 1) fail(std::string("`") + name + "` must have one axis, got " + std::to_string(array.ndim()));
  require_readable(array, name);
  if (py::isinstance<py::array_t<int32_t>>(array)) return copied<To, int32_t>(array, most, name);
  if (py::isinstance<py::array_t<int64_t>>(array)) return copied<To, int64_t>(array, most, name);
  fail(std::string("`") + name + "` must be int32 or int64, got " + py::str(array.dtype()).cast<std::string>());
}

/// Whether the columns of every row ascend; py::value_error for what are no rows of that width.
bool ascend(const std::vector<int64_t>& begins, const std::vector<int32_t>& columns) {
  if (begins.size() < 2) fail("`indptr` must have at least two entries, got " + std::to_string(begins.size()));
  if (begins.front() != 0) fail("`indptr` must begin with 0, got " + std::to_string(begins.front()));
  for (size_t row = 1; row < begins.size(); ++row) {
    if (begins[row] < begins[row - 1]) {
      fail("`indptr` must not descend, but row " + std::to_string(row - 1) + " goes from " +
           std::to_string(begins[row - 1]) + " to " + std::to_string(begins[row]));
    }
  }
  return all_ascend(begins, columns);
}

int64_t last_column(int64_t width) {
  if (width < 1 || width > std::numeric_limits<int32_t>::max()) {
    fail("rows must have 1 to 2**31 - 1 columns, got " + std::to_string(width));
  }
  return width - 1;
}

}  // namespace

CompressedMatrix::CompressedMatrix(const py::array& begins, const py::array& columns, const py::array_t<float>& values,
                                   int64_t width)
    : values_(values), rows_(begins.size() - 1), width_(width) {
  require_readable(values, "data");
  if (values.ndim() != 1 || values.size() != columns.size()) {
    fail("`data` must have one entry for each of the " + std::to_string(columns.size()) + " `indices`, got " +
         std::to_string(values.size()));
  }
  Indices indices{to_indices<int64_t>(begins, columns.size(), "indptr"),
                  to_indices<int32_t>(columns, last_column(width), "indices"), false};
  indices.in_order = ascend(indices.begins, indices.columns);
  if (rows_ > std::numeric_limits<int32_t>::max()) fail("`x` has 2**31 rows or more; train on parts of it");
  indices_ = std::make_shared<const Indices>(std::move(indices));
}

CompressedMatrix CompressedMatrix::part(const py::slice& rows) const {
  py::ssize_t begin, end, step, count;
  if (!rows.compute(rows_, &begin, &end, &step, &count)) throw py::error_already_set();
  if (step != 1 || count < 1) fail("rows must be a slice of at least one row, without a step");
  CompressedMatrix part = *this;
  part.first_ += begin;
  part.rows_ = count;
  return part;
}

DatasetView CompressedMatrix::view() const {
  if (!in_order()) fail("`indices` must ascend within each row");
  DatasetView view;
  view.rows = rows_;
  view.stride = width_;
  view.compressed = {indices_->begins.data() + first_, indices_->columns.data(), values_.data()};
  return view;
}

DatasetView view_of(const py::object& x) {
  if (py::isinstance<CompressedMatrix>(x)) return x.cast<const CompressedMatrix&>().view();
  if (const DeviceArray* const array = as_device_array(x)) return array->rows();
  if (!py::isinstance<py::array>(x)) fail("`x` must be an array or a CompressedMatrix");
  return view_rows(py::reinterpret_borrow<py::array>(x));
}

void register_compressed(py::module_& m) {
  py::class_<CompressedMatrix> type(m, "CompressedMatrix");
  def_init<const py::array&, const py::array&, const py::array_t<float>&, int64_t>(
      type, py::arg("indptr"), py::arg("indices"), py::arg("data"), py::arg("width"));
  type.def("__len__", &CompressedMatrix::rows)
      .def_property_readonly("in_order", &CompressedMatrix::in_order)
      .def(
          "__getitem__",
          [](const CompressedMatrix& matrix, const py::slice& rows) {
            return to_python(std::make_unique<CompressedMatrix>(matrix.part(rows)));
          },
          py::arg("rows"));
}

}  // namespace engine::bindings
