// Random draws of the host side: initial weights and orders of rows, as functions of (seed, stream, element).
#pragma once
#include <cstdint>

namespace engine {

/// out (n,): uniform in [low, high)
void fill_uniform(uint64_t seed, uint64_t stream, float low, float high, float* out, int64_t n);

/// out (n,): 0 ... n - 1 in random order; n < 2^31
void fill_permutation(uint64_t seed, uint64_t stream, int32_t* out, int64_t n);

}  // namespace engine
