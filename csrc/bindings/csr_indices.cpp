#include "bindings/csr_indices.h"

#include <algorithm>
#include <limits>
#include <type_traits>

namespace engine::bindings {

template <class To, class From>
bool copy_indices(const From* from, int64_t n, int64_t most, To* to) {
  using Bits = std::make_unsigned_t<From>;
  const auto last = static_cast<Bits>(std::min<int64_t>(most, std::numeric_limits<From>::max()));
  Bits outside = 0;  // its sign: that of a number, or of what is left up to `most`
  for (int64_t i = 0; i < n; ++i) {
    const auto place = static_cast<Bits>(from[i]);
    outside |= place | (last - place);
    to[i] = static_cast<To>(place);
  }
  return outside <= static_cast<Bits>(std::numeric_limits<From>::max());
}

template bool copy_indices(const int32_t*, int64_t, int64_t, int32_t*);
template bool copy_indices(const int64_t*, int64_t, int64_t, int32_t*);
template bool copy_indices(const int32_t*, int64_t, int64_t, int64_t*);
template bool copy_indices(const int64_t*, int64_t, int64_t, int64_t*);

bool all_ascend(const std::vector<int64_t>& begins, const std::vector<int32_t>& columns) {
  uint32_t descent = 0;  // its sign: that of a step of a column less one
  for (size_t row = 1; row < begins.size(); ++row) {
    for (int64_t e = begins[row - 1] + 1; e < begins[row]; ++e) {
      const auto i = static_cast<size_t>(e);
      descent |= static_cast<uint32_t>(columns[i]) - static_cast<uint32_t>(columns[i - 1]) - 1;
    }
  }
  return descent <= static_cast<uint32_t>(std::numeric_limits<int32_t>::max());
}

}  // namespace engine::bindings
