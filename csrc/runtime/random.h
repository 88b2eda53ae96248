// Random numbers outside of the kernels: initial weights and orders of samples. Each number is a function of the seed,
// the stream and its index alone.
#pragma once
#include <cstdint>

namespace engine {

/// Sets out (n,) to numbers that are uniform in [low, high).
void fill_uniform(uint64_t seed, uint64_t stream, float low, float high, float* out, int64_t n);

/// Sets out (n,) to normally distributed numbers, computed in double precision and rounded at the end.
void fill_normal(uint64_t seed, uint64_t stream, double mean, double stddev, float* out, int64_t n);

/// Sets out (n,) to normally distributed numbers, of which those more than two standard deviations from the mean are
/// rejected.
void fill_truncated_normal(uint64_t seed, uint64_t stream, double mean, double stddev, float* out, int64_t n);

/// Sets out (rows, columns), where rows >= columns, to orthogonal columns of length `gain` with uniformly distributed
/// directions.
void fill_orthogonal(uint64_t seed, uint64_t stream, double gain, float* out, int64_t rows, int64_t columns);

/// Sets out (n,) to 0 ... n - 1 in random order; n < 2^31.
void fill_permutation(uint64_t seed, uint64_t stream, int32_t* out, int64_t n);

}  // namespace engine
