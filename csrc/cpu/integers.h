// Conversions between integers and float32, by as many threads as they are worth.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine::cpu {

/// to = from, n > 0 numbers rounded to float32. Returns the least and the largest of them.
IntegerRange integers_to_floats(const KernelTable& kernels, const int32_t* from, float* to, int64_t n,
                                int most_threads);
IntegerRange integers_to_floats(const KernelTable& kernels, const int64_t* from, float* to, int64_t n,
                                int most_threads);

/// to = from, n numbers without their fractions; both may lie in the same memory. Returns whether all of them fit.
bool floats_to_integers(const KernelTable& kernels, const float* from, int32_t* to, int64_t n, int most_threads);

}  // namespace engine::cpu
