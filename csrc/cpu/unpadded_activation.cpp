#include "cpu/unpadded_activation.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace engine::cpu {

void activate(const KernelTable& kernels, Activation activation, const float* parameters, MatrixView matrix) {
  const auto apply = kernels.activation_forward[static_cast<size_t>(activation)];
  if (matrix.column != 1) {
    std::swap(matrix.row, matrix.column);
    std::swap(matrix.rows, matrix.columns);
  }
  if (matrix.column == 1 && matrix.row == matrix.columns) {
    matrix.columns *= std::exchange(matrix.rows, 1);
  }
  const int64_t whole = matrix.column == 1 ? matrix.columns / kLineFloats * kLineFloats : 0;
  if (whole > 0) apply({matrix.at, matrix.at, nullptr, matrix.row, {0, matrix.rows}, {0, whole}, parameters});
  for (int64_t i = 0; i < matrix.rows; ++i) {
    for (int64_t j = whole; j < matrix.columns; j += kLineFloats) {
      float* at = matrix.at + i * matrix.row + j * matrix.column;
      const int64_t count = std::min(kLineFloats, matrix.columns - j);
      float line[kLineFloats] = {};
      for (int64_t l = 0; l < count; ++l) line[l] = at[l * matrix.column];
      apply({line, line, nullptr, 0, {0, 1}, {0, kLineFloats}, parameters});
      for (int64_t l = 0; l < count; ++l) at[l * matrix.column] = line[l];
    }
  }
}

void activate_rows(const KernelTable& kernels, Activation activation, float* c, int64_t columns, Range rows,
                   float* padded) {
  const auto apply = kernels.row_activation_forward[static_cast<int>(activation) - kElementwiseActivations];
  const auto bytes = static_cast<size_t>(columns) * sizeof(float);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    std::memcpy(padded, c + i * columns, bytes);
    apply({padded, nullptr, padded, 0, columns, {0, 1}});
    std::memcpy(c + i * columns, padded, bytes);
  }
}

}  // namespace engine::cpu
