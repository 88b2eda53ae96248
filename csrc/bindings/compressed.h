// CompressedMatrix: sparse rows in the CSR format, as a pass reads them.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "bindings/convert.h"

namespace engine::bindings {

/// Rows whose indices are copied, as a wrong one would be read or written to outside of an array, and checked.
class CompressedMatrix {
 public:
  /// `begins` (rows + 1,) and `columns` (elements,) are of int32 or int64, `values` (elements,) are referenced. Throws
  /// py::value_error that names the first entry that is wrong.
  CompressedMatrix(const py::array& begins, const py::array& columns, const py::array_t<float>& values, int64_t width);

  /// Some rows that follow each other, without a copy.
  CompressedMatrix part(const py::slice& rows) const;
  int64_t rows() const { return rows_; }
  bool in_order() const { return indices_->in_order; }
  /// Throws py::value_error unless the columns are in order.
  DatasetView view() const;

 private:
  struct Indices {
    std::vector<int64_t> begins;
    std::vector<int32_t> columns;
    bool in_order;  // the columns of every row ascend, each there once
  };
  std::shared_ptr<const Indices> indices_;
  py::array_t<float> values_;
  int64_t first_ = 0, rows_, width_;
};

/// Views a CompressedMatrix or a DeviceArray, or the rows of an array as view_rows does.
DatasetView view_of(const py::object& x);

}  // namespace engine::bindings
