// Matrices in the layout that kernels need, and checks of their shapes.
#pragma once
#include <pybind11/numpy.h>

#include "kernels/table.h"

namespace engine::bindings {

namespace py = pybind11;
using FloatArray = py::array_t<float>;

/// Returns a matrix (rows, columns) of zeros in the layout of the engine's values.
FloatArray padded(int64_t rows, int64_t columns);

/// Returns a padded copy of a vector or matrix with any strides. The padding is NaN, on which no result may depend.
FloatArray pad(const FloatArray& a);

/// Returns the leading dimension of a matrix made by `padded`.
int64_t leading(const FloatArray& a);

/// Returns the leading dimension of a matrix that kernels read one number at a time, so that it needs no padding.
int64_t row_stride(const FloatArray& a, const char* name);

float* values(const FloatArray& a);

void expect_shape(const py::array& a, int64_t rows, int64_t columns, const char* name);
void expect_size(const py::array& a, int64_t size, const char* name);

inline Range all(int64_t n) { return {0, n}; }
inline Range lines(int64_t n) { return {0, round_up(n, kLineFloats)}; }

}  // namespace engine::bindings
