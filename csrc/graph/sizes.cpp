#include "graph/sizes.h"

#include <limits>
#include <stdexcept>

namespace engine::graph {
namespace {

/// Numbers of a row, which kernels count in 32 bits, up to the end of a vector.
constexpr int64_t kMaxInRow = std::numeric_limits<int32_t>::max() - 16;

}  // namespace

void refuse(const std::string& why) { throw std::invalid_argument(why); }

int64_t times(int64_t a, int64_t b) { return b > 0 && a > kMaxNumbers / b ? kMaxNumbers + 1 : a * b; }

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t numbers = 1;
  for (const int64_t axis : shape) numbers = axis < 1 ? 0 : times(numbers, axis);
  return numbers;
}

int64_t require_size(int64_t size) {
  if (size > kMaxNumbers) refuse("a layer is larger than 2**40 numbers");
  return size;
}

int64_t row_of(int64_t size, int64_t groups, const char* what) {
  if (groups < 1 || size % groups != 0) {
    refuse(std::string(what) + " of " + std::to_string(size) + " numbers can't be cut into " + std::to_string(groups) +
           " rows");
  }
  const int64_t row = size / groups;
  if (row > kMaxInRow) {
    refuse("rows of " + std::to_string(row) + " numbers are too long: at most " + std::to_string(kMaxInRow));
  }
  return row;
}

}  // namespace engine::graph
