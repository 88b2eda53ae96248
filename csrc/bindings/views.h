// Arrays of Python over the scratch of a batch.
#pragma once
#include <memory>

#include "bindings/convert.h"
#include "graph/array.h"
#include "runtime/program.h"

namespace engine::bindings {

/// The values of a batch of `rows` samples. An array that Python keeps keeps the scratch from other runs.
class BatchViews {
 public:
  BatchViews(const std::shared_ptr<Workspace>& workspace, int64_t rows);

  /// The rows of the batch.
  py::array_t<float> matrix(graph::ValueId value) const;
  /// The first `count` numbers of a value.
  py::array_t<float> vector(graph::ValueId value, int64_t count) const;
  /// An array whose numbers lie side by side.
  py::array_t<float> array(const graph::Array& array) const;
  /// The gradient by a variable that is stored as one row, in the shape that the user sees.
  py::array_t<float> gradient(graph::ValueId value) const;

 private:
  const Workspace& workspace_;
  int64_t rows_;
  py::capsule owner_;
};

}  // namespace engine::bindings
