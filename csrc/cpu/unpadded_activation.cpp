#include "cpu/unpadded_activation.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace engine::cpu {

void activate(const KernelTable& kernels, Activation activation, const float* parameters, Block block) {
  const auto apply = kernels.activation_forward[static_cast<size_t>(activation)];
  if (block.column != 1) {
    std::swap(block.row, block.column);
    std::swap(block.rows, block.columns);
  }
  if (block.column == 1 && block.row == block.columns) {
    block.columns *= std::exchange(block.rows, 1);
  }
  const int64_t whole = block.column == 1 ? block.columns / kLineFloats * kLineFloats : 0;
  if (whole > 0) apply({block.at, block.at, nullptr, block.row, {0, block.rows}, {0, whole}, parameters});
  for (int64_t i = 0; i < block.rows; ++i) {
    for (int64_t j = whole; j < block.columns; j += kLineFloats) {
      float* at = block.at + i * block.row + j * block.column;
      const int64_t count = std::min(kLineFloats, block.columns - j);
      float line[kLineFloats] = {};
      for (int64_t l = 0; l < count; ++l) line[l] = at[l * block.column];
      apply({line, line, nullptr, 0, {0, 1}, {0, kLineFloats}, parameters});
      for (int64_t l = 0; l < count; ++l) at[l * block.column] = line[l];
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
