#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cuda/library/products_choice.h"

namespace engine::cuda {
namespace {

/// The library computes products with at least so many terms. Tiles of this project do bias, activation, addend,
/// rounding and optimizer themselves; beside the library these are kernels of their own, which cost about 2 us each. So
/// the library has to save more than that in the product itself. No card has measured any of this; the numbers suppose
/// that tiles reach half of what the library does in float32, and a third on tensor cores, on an H100:
///     float32         2^27 terms, such as (512, 512) of 512, take the library 5 us, and 2 kernels come with it
///     TensorFloat32   2^28 terms take it 1.5 us
///     16 bits         2^30 terms take it 3.5 us, and 4 kernels come with it
/// `python -m bench.gpu` times both ways for wide networks.
int64_t least_terms(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return int64_t{1} << 27;
    case Precision::kTensorFloat32:
      return int64_t{1} << 28;
    case Precision::kBfloat16:
    case Precision::kFloat16:
      break;
  }
  return int64_t{1} << 30;
}

/// The library counts rows and columns in 32 bits.
constexpr int64_t kMaxOfAxis = INT32_MAX;

/// What the environment asks for; empty for nothing. Throws std::invalid_argument for what is no way.
std::string asked_products() {
  const char* const asked = std::getenv("ENGINE_CUDA_PRODUCTS");
  const std::string way = asked ? asked : "";
  if (way.empty() || way == "own" || way == "library") return way;
  throw std::invalid_argument("ENGINE_CUDA_PRODUCTS must be 'own' or 'library'; got '" + way + "'");
}

bool is_large(int64_t m, int64_t n, int64_t k, Precision precision) {
  const double terms = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  return terms >= static_cast<double>(least_terms(precision));
}

}  // namespace

MatrixProducts* choose_library(int64_t m, int64_t n, int64_t k, Precision precision) {
  const std::string asked = asked_products();
  if (m < 1 || n < 1 || k < 1 || m > kMaxOfAxis || n > kMaxOfAxis || k > kMaxOfAxis) return nullptr;
  if (asked == "own" || (asked.empty() && !is_large(m, n, k, precision))) return nullptr;
  MatrixProducts* const library = find_matrix_products();
  if (!library && !asked.empty()) {
    throw std::invalid_argument("ENGINE_CUDA_PRODUCTS asks for the library, but there is none: " +
                                cublaslt::find_library().why_not);
  }
  return library;
}

}  // namespace engine::cuda
