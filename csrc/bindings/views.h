// Arrays of Python over the scratch of a batch.
#pragma once
#include <memory>

#include "bindings/convert.h"
#include "plan/program.h"

namespace engine::bindings {

/// The buffers of a batch of `rows` samples. Whoever keeps an array keeps the scratch from other runs.
class BatchViews {
 public:
  BatchViews(const std::shared_ptr<Workspace>& workspace, int64_t rows);

  /// The rows of the batch.
  py::array_t<float> matrix(int buffer) const;
  /// The first `count` numbers of a buffer.
  py::array_t<float> vector(int buffer, int64_t count) const;
  /// The gradient by a variable whose numbers lie one after the other, in the arena of all gradients or another one.
  py::array_t<float> gradient(const Variable& variable, int arena) const;

 private:
  const Workspace& workspace_;
  int64_t rows_;
  py::capsule owner_;
};

}  // namespace engine::bindings
