// Products of matrices that Python owns.
#pragma once
#include <pybind11/pybind11.h>

#include "kernels/table.h"

namespace engine::bindings {

namespace py = pybind11;

/// Which kernels compute a product, and on how many threads. By default the kernels in force do, on as many threads as
/// pay for a product of that size.
struct ProductOptions {
  const KernelTable* kernels = nullptr;
  int threads = 0;
};

/// The product of `arguments`: a, b, bias, activation, transpose_a, transpose_b, out.
py::object multiply_arrays(PyObject* const* arguments, const ProductOptions& options);

}  // namespace engine::bindings
