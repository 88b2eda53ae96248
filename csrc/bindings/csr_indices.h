// The indices of a CSR matrix that a caller passes, copied and checked in loops that compilers make vectors of.
#pragma once
#include <cstdint>
#include <vector>

namespace engine::bindings {

/// Copies n numbers; whether all lie in [0, most]. Of int32_t to int64_t, int64_t to int64_t, and either to int32_t.
template <class To, class From>
bool copy_indices(const From* from, int64_t n, int64_t most, To* to);

/// Whether the columns of every row ascend, which begins at one of `begins` and ends at the next.
bool all_ascend(const std::vector<int64_t>& begins, const std::vector<int32_t>& columns);

}  // namespace engine::bindings
