#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cuda/library/products_choice.h"

namespace engine::cuda {
namespace {

/// The library computes products with at least so many terms. Tiles of this project do bias, activation, addend and
/// optimizer in their epilogues; beside the library these are kernels of their own, which take 3 us or more for each
/// product. It may win that back where the product itself takes longer: 2^27 terms, those of (512, 512) of 512, take an
/// H100 5 us at the 60 TFLOPS that its float32 units have at best, and tiles reach perhaps half of them. No card has
/// measured any of this: `python -m bench.gpu` compares both.
constexpr int64_t kLeastTerms = int64_t{1} << 27;

/// The library counts rows and columns in 32 bits.
constexpr int64_t kMostOfAxis = INT32_MAX;

/// What the environment asks for; empty for nothing. Throws std::invalid_argument for what is no way.
std::string asked_products() {
  const char* const asked = std::getenv("ENGINE_CUDA_PRODUCTS");
  const std::string way = asked ? asked : "";
  if (way.empty() || way == "own" || way == "library") return way;
  throw std::invalid_argument("ENGINE_CUDA_PRODUCTS must be 'own' or 'library'; got '" + way + "'");
}

bool is_large(int64_t m, int64_t n, int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) >= static_cast<double>(kLeastTerms);
}

}  // namespace

MatrixProducts* choose_library(int64_t m, int64_t n, int64_t k) {
  const std::string asked = asked_products();
  if (m < 1 || n < 1 || k < 1 || m > kMostOfAxis || n > kMostOfAxis || k > kMostOfAxis) return nullptr;
  if (asked == "own" || (asked.empty() && !is_large(m, n, k))) return nullptr;
  MatrixProducts* const library = find_matrix_products();
  if (!library && !asked.empty()) {
    throw std::invalid_argument("ENGINE_CUDA_PRODUCTS asks for the library, but there is none: " +
                                cublaslt::find_library().why_not);
  }
  return library;
}

}  // namespace engine::cuda
