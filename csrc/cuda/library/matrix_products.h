// Products of matrices by cuBLASLt. Its matrices are column-major and ours are row-major, so it is asked for the
// transpose of each product: the same numbers in the same places.
#pragma once
#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "cuda/library/cublaslt.h"
#include "formulas/kinds.h"
#include "runtime/fork.h"

namespace engine::cuda {

/// result (m, n) = a (m, k) b (k, n) [+ bias (n), to each row] [+ addend (m, n)]. The result, bias and addend are
/// float32 without gaps; the operands are float32, or 16 bits wide where the precision is.
struct MatrixProduct {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0;                       // from one stored row of an operand to the next, in numbers
  bool transpose_a = false, transpose_b = false;  // stored as (k, m), or as (n, k)
  bool has_bias = false, has_addend = false;
  Precision precision = Precision::kFloat32;

  auto key() const {
    return std::make_tuple(m, n, k, lda, ldb, transpose_a, transpose_b, has_bias, has_addend, precision);
  }
};

/// Where the matrices of a product lie on the card, at multiples of kMatrixAlignment bytes.
struct ProductMemory {
  const void *a = nullptr, *b = nullptr;
  const float *bias = nullptr, *addend = nullptr;  // as the product says
  float* result = nullptr;
  void* workspace = nullptr;
};

/// As values and weights lie at multiples of 32 floats.
inline constexpr int64_t kMatrixAlignment = 128;

/// The most workspace for a product: what NVIDIA's documentation (cublasSetWorkspace) recommends for Hopper.
inline constexpr int64_t kMaxWorkspaceBytes = int64_t{32} << 20;

/// The library on one card.
class MatrixProducts {
 public:
  /// How the library computes a product. One product, with one limit of workspace, has the same plan as long as the
  /// process lives, so that it gives the same bits each time.
  struct Plan {
    cublaslt::Algorithm algorithm;
    int64_t workspace_bytes;
  };

  MatrixProducts(const cublaslt::Library& library, cublaslt::Handle handle) : library_(library), handle_(handle) {}

  const std::string& version() const { return library_.version; }

  /// A plan for a product with no more workspace than that; nothing where the library has none.
  std::optional<Plan> find_plan(const MatrixProduct& product, int64_t workspace_bytes);

  /// Starts a product on a stream. Throws Error where the library fails.
  void multiply(const MatrixProduct& product, const Plan& plan, const ProductMemory& memory, cudaStream_t stream) const;

 private:
  std::optional<Plan> ask_for_plan(const MatrixProduct& product, int64_t workspace_bytes) const;
  static void reset(void* products) { new (&static_cast<MatrixProducts*>(products)->mutex_) std::mutex; }

  const cublaslt::Library& library_;
  const cublaslt::Handle handle_;
  std::mutex mutex_;  // of the plans
  std::map<std::pair<decltype(MatrixProduct{}.key()), int64_t>, std::optional<Plan>> plans_;
  ChildReset after_fork_{this, reset};
};

/// The library on the card that the calls of this thread are about; null where there is none.
MatrixProducts* find_matrix_products();

/// A sentence on who computes large products: the library or this project's kernels, and why.
std::string products_state();

}  // namespace engine::cuda
