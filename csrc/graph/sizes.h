// Sizes of samples and rows, checked so that the arithmetic of offsets can't overflow.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace engine::graph {

/// Numbers of a sample, or weights of a model: 4 TiB. More is a typing error.
inline constexpr int64_t kMaxNumbers = int64_t{1} << 40;

[[noreturn]] void refuse(const std::string& why);

/// a * b for sizes that are not negative, or more than kMaxNumbers.
int64_t times(int64_t a, int64_t b);

/// Numbers in an array of this shape; 0 where an axis has none.
int64_t element_count(const std::vector<int64_t>& shape);

/// `size`, unless it is more than kMaxNumbers.
int64_t require_size(int64_t size);

/// Numbers in each of `groups` rows of a sample of `size` numbers. `what` is "a sample" or "an output".
int64_t row_of(int64_t size, int64_t groups, const char* what = "a sample");

}  // namespace engine::graph
