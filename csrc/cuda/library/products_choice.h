// The one place that chooses who computes a product of a dense layer: this project's tiles, or cuBLASLt.
#pragma once
#include "cuda/library/matrix_products.h"

namespace engine::cuda {

/// The library for products (m, n) of k terms each, on the card that the calls of this thread are about; null for this
/// project's tiles, which multiply in the same precision. ENGINE_CUDA_PRODUCTS in the environment chooses for tests and
/// measurements: `own`, or `library` for products of all sizes. Throws std::invalid_argument for other values, and
/// where `library` is asked for and there is none.
MatrixProducts* choose_library(int64_t m, int64_t n, int64_t k, Precision precision);

}  // namespace engine::cuda
