// Random draws of the host side: initial weights and orders of rows, as functions of (seed, stream, element).
#pragma once
#include <cstdint>

namespace engine {

/// out (n,): uniform in [low, high)
void fill_uniform(uint64_t seed, uint64_t stream, float low, float high, float* out, int64_t n);

/// out (n,): normal, in double and then rounded
void fill_normal(uint64_t seed, uint64_t stream, double mean, double stddev, float* out, int64_t n);

/// out (n,): the same without what lies more than two standard deviations from the mean
void fill_truncated_normal(uint64_t seed, uint64_t stream, double mean, double stddev, float* out, int64_t n);

/// out (rows, columns), rows >= columns: columns of length `gain` at right angles, of any direction with equal chance
void fill_orthogonal(uint64_t seed, uint64_t stream, double gain, float* out, int64_t rows, int64_t columns);

/// out (n,): 0 ... n - 1 in random order; n < 2^31
void fill_permutation(uint64_t seed, uint64_t stream, int32_t* out, int64_t n);

}  // namespace engine
