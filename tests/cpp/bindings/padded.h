// Matrices laid out in memory as the kernels need them, and checks of their shapes.
#pragma once
#include <pybind11/numpy.h>

#include "kernels/table.h"

namespace engine::bindings {

namespace py = pybind11;
using FloatArray = py::array_t<float>;

/// A zeroed (rows, columns) view laid out as the engine lays out its buffers.
FloatArray padded(int64_t rows, int64_t columns);

/// A padded copy of a vector or matrix of any strides. Its pads are NaN, which no number of a result may show.
FloatArray pad(const FloatArray& a);

/// Leading dimension of a matrix made by `padded`.
int64_t leading(const FloatArray& a);

/// Leading dimension of a matrix that is only read, a scalar at a time: it needs no padding.
int64_t row_stride(const FloatArray& a, const char* name);

float* values(const FloatArray& a);

void expect_shape(const py::array& a, int64_t rows, int64_t columns, const char* name);
void expect_size(const py::array& a, int64_t size, const char* name);

inline Range all(int64_t n) { return {0, n}; }
inline Range lines(int64_t n) { return {0, round_up(n, kLane)}; }

}  // namespace engine::bindings
