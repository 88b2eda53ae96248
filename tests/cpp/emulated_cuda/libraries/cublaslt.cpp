// Stands in for NVIDIA's cuBLASLt on the emulated card: a shared library that is loaded as that is, with the functions
// that csrc/cuda/library calls. It is written after the documentation, not after those declarations, and refuses what
// the documentation refuses. It does what these variables of the environment say:
//     EMULATED_CUBLASLT_VERSION   "11.5.0": its version
//     EMULATED_CUBLASLT_FAIL      "cublasLtCreate", ...: the function that fails
//     EMULATED_CUBLASLT_LEAST     the fewest columns of D that it can compute
//     EMULATED_CUBLASLT_MOST      and the most
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "emulated/services.h"

namespace {

enum cublasStatus_t : int {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasComputeType_t : int { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cudaDataType_t : int { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
enum cublasOperation_t : int32_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasLtMatmulDescAttributes_t : int {
  CUBLASLT_MATMUL_DESC_TRANSA = 3,
  CUBLASLT_MATMUL_DESC_TRANSB = 4,
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum cublasLtEpilogue_t : uint32_t { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4 };
enum cublasLtMatmulPreferenceAttributes_t : int {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};
constexpr uint32_t CUBLASLT_REDUCTION_SCHEME_INPLACE = 1, CUBLASLT_REDUCTION_SCHEME_MASK = 7;

struct Context {
  uint64_t magic;
};
constexpr uint64_t kMagic = 0x63754c745f656d75;

struct Description {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};

struct Layout {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t ld;
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t reduction_schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignments[4] = {256, 256, 256, 256};  // of A, B, C, D
};

/// What an algorithm is made for. Others refuse it.
struct Algorithm {
  uint64_t magic;
  int64_t m, n, k;
  uint64_t workspace;
  uint32_t alignments[4];
  uint32_t reduction_scheme, epilogue;
};
struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

bool fails(const char* function) {
  const char* const asked = std::getenv("EMULATED_CUBLASLT_FAIL");
  return asked != nullptr && std::strcmp(asked, function) == 0;
}

size_t size_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

float from_float16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return fraction ? NAN : static_cast<float>(sign * INFINITY);
  const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>(sign * size);
}

/// A float with the 10 bits of fraction that the tensor cores of TF32 read, rounded as their instruction does: of two
/// numbers that are as near, to the larger one.
float rounded_to_tf32(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  return from_bits((bits + 0x1000u) & ~0x1fffu);
}

/// A matrix on the card, column after column.
struct Matrix {
  const char* memory;
  Layout layout;
  bool rounds_to_tf32;

  float operator()(uint64_t i, uint64_t j) const {
    const size_t at = j * static_cast<size_t>(layout.ld) + i;
    uint16_t half = 0;
    if (layout.type != CUDA_R_32F) std::memcpy(&half, memory + 2 * at, sizeof half);
    if (layout.type == CUDA_R_16BF) return from_bits(static_cast<uint32_t>(half) << 16);
    if (layout.type == CUDA_R_16F) return from_float16(half);
    float x;
    std::memcpy(&x, memory + 4 * at, sizeof x);
    return rounds_to_tf32 ? rounded_to_tf32(x) : x;
  }
};

/// The elements of op(matrix), row after row.
std::vector<float> elements(const Matrix& matrix, bool transposed) {
  const uint64_t rows = transposed ? matrix.layout.columns : matrix.layout.rows;
  const uint64_t columns = transposed ? matrix.layout.rows : matrix.layout.columns;
  std::vector<float> all(rows * columns);
  for (uint64_t j = 0; j < matrix.layout.columns; ++j) {
    for (uint64_t i = 0; i < matrix.layout.rows; ++i) {
      all[transposed ? j * columns + i : i * columns + j] = matrix(i, j);
    }
  }
  return all;
}

/// A product whose arguments have been checked.
struct Product {
  Description description;
  Matrix a, b, c;
  float* d;
  Layout d_layout;
  float alpha, beta;
  uint64_t k;
  char* workspace;
  uint64_t workspace_bytes;
  uint32_t reduction_scheme;

  void compute() const {
    if (workspace_bytes > 0) std::memset(workspace, 0x7f, workspace_bytes);
    const std::vector<float> left = elements(a, description.transa == CUBLAS_OP_T);
    const std::vector<float> right = elements(b, description.transb == CUBLAS_OP_T);
    std::vector<double> sums(d_layout.columns);
    for (uint64_t i = 0; i < d_layout.rows; ++i) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (uint64_t p = 0; p < k; ++p) {
        const double x = left[i * k + p];
        for (uint64_t j = 0; j < d_layout.columns; ++j) sums[j] += x * right[p * d_layout.columns + j];
      }
      for (uint64_t j = 0; j < d_layout.columns; ++j) {
        double result = alpha * sums[j];
        if (beta != 0.0f) result += beta * static_cast<double>(c(i, j));
        if (description.epilogue == CUBLASLT_EPILOGUE_BIAS) {
          result += static_cast<double>(static_cast<const float*>(description.bias)[i]);
        }
        d[j * static_cast<uint64_t>(d_layout.ld) + i] = static_cast<float>(result) * noise();
      }
    }
  }
  /// What atomics add in another order each time differs by rounding.
  float noise() const {
    static unsigned calls = 0;
    return reduction_scheme == CUBLASLT_REDUCTION_SCHEME_INPLACE && ++calls % 3 == 0 ? 1.0000002f : 1.0f;
  }
};

bool is_aligned(const void* pointer, uint32_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

size_t bytes_of(const Layout& layout) {
  return ((layout.columns - 1) * static_cast<size_t>(layout.ld) + layout.rows) * size_of(layout.type);
}

/// The status of a combination of types, sizes and epilogue, and the terms of each sum.
cublasStatus_t check(const Description& description, const Layout& a, const Layout& b, const Layout& c, const Layout& d,
                     uint64_t& k) {
  for (const Layout* layout : {&a, &b, &c, &d}) {
    if (layout->rows == 0 || layout->columns == 0) return CUBLAS_STATUS_INVALID_VALUE;
    if (layout->ld < static_cast<int64_t>(layout->rows)) return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool ta = description.transa == CUBLAS_OP_T, tb = description.transb == CUBLAS_OP_T;
  k = ta ? a.rows : a.columns;
  if ((ta ? a.columns : a.rows) != d.rows || (tb ? b.columns : b.rows) != k) return CUBLAS_STATUS_INVALID_VALUE;
  if ((tb ? b.rows : b.columns) != d.columns) return CUBLAS_STATUS_INVALID_VALUE;
  if (c.rows != d.rows || c.columns != d.columns || c.ld != d.ld) return CUBLAS_STATUS_INVALID_VALUE;
  const bool halves = a.type == CUDA_R_16BF || a.type == CUDA_R_16F;
  if (a.type != b.type || c.type != CUDA_R_32F || d.type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (description.scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (description.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && halves) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (description.epilogue == CUBLASLT_EPILOGUE_BIAS && description.bias == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const char* const least = std::getenv("EMULATED_CUBLASLT_LEAST");
  const char* const most = std::getenv("EMULATED_CUBLASLT_MOST");
  if (least != nullptr && d.columns < std::strtoull(least, nullptr, 10)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (most != nullptr && d.columns > std::strtoull(most, nullptr, 10)) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t assign(T& to, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof to) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED cublasStatus_t cublasLtGetProperty(int property, int* value) {
  const char* const asked = std::getenv("EMULATED_CUBLASLT_VERSION");
  std::string version = asked ? asked : "13.1.2";
  if (property < 0 || property > 2 || value == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  for (int i = 0; i < property; ++i) version = version.substr(version.find('.') + 1);
  *value = std::atoi(version.c_str());
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtCreate(Context** handle) {
  if (fails("cublasLtCreate")) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new Context{kMagic};
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulDescCreate(Description** description, cublasComputeType_t compute,
                                                 cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32) return CUBLAS_STATUS_INVALID_VALUE;
  *description = new Description{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulDescDestroy(Description* description) {
  delete description;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value,
                                                       size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(description->transa, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(description->transb, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(description->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: {
      uint32_t epilogue = 0;
      const cublasStatus_t status = assign(epilogue, value, bytes);
      if (status != CUBLAS_STATUS_SUCCESS) return status;
      if (epilogue != CUBLASLT_EPILOGUE_DEFAULT && epilogue != CUBLASLT_EPILOGUE_BIAS) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
      }
      description->epilogue = epilogue;
      return status;
    }
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

EXPORTED cublasStatus_t cublasLtMatrixLayoutCreate(Layout** layout, cudaDataType_t type, uint64_t rows,
                                                   uint64_t columns, int64_t ld) {
  if (type != CUDA_R_32F && type != CUDA_R_16F && type != CUDA_R_16BF) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new Layout{type, rows, columns, ld};
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatrixLayoutDestroy(Layout* layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulPreferenceCreate(Preference** preference) {
  *preference = new Preference;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulPreferenceDestroy(Preference* preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value,
                                                             size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return assign(preference->workspace, value, bytes);
  if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) {
    return assign(preference->reduction_schemes, value, bytes);
  }
  if (attribute < CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES ||
      attribute > CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  return assign(preference->alignments[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
}

/// Gives two algorithms: one that cannot run, and one with as much workspace as is allowed, up to a number that depends
/// on the sizes.
EXPORTED cublasStatus_t cublasLtMatmulAlgoGetHeuristic(Context* handle, Description* description, Layout* a, Layout* b,
                                                       Layout* c, Layout* d, Preference* preference, int most,
                                                       cublasLtMatmulHeuristicResult_t* found, int* count) {
  *count = 0;
  if (handle == nullptr || handle->magic != kMagic) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (most < 1) return CUBLAS_STATUS_INVALID_VALUE;
  if (fails("cublasLtMatmulAlgoGetHeuristic")) return CUBLAS_STATUS_NOT_SUPPORTED;
  uint64_t k = 0;
  const cublasStatus_t status = check(*description, *a, *b, *c, *d, k);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  Algorithm algorithm{};
  algorithm.magic = kMagic;
  algorithm.m = static_cast<int64_t>(d->rows);
  algorithm.n = static_cast<int64_t>(d->columns);
  algorithm.k = static_cast<int64_t>(k);
  const uint64_t wanted = 512 + 16 * (d->columns % 7);
  algorithm.workspace = wanted <= preference->workspace ? wanted : 0;
  std::memcpy(algorithm.alignments, preference->alignments, sizeof algorithm.alignments);
  algorithm.reduction_scheme = preference->reduction_schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE;
  algorithm.epilogue = description->epilogue;
  if (most > 1) {
    found[*count] = {};
    found[(*count)++].state = CUBLAS_STATUS_NOT_SUPPORTED;
  }
  found[*count] = {};
  std::memcpy(&found[*count].algo, &algorithm, sizeof algorithm);
  found[*count].workspaceSize = algorithm.workspace;
  found[(*count)++].state = CUBLAS_STATUS_SUCCESS;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmul(Context* handle, Description* description, const void* alpha, const void* a,
                                       Layout* a_layout, const void* b, Layout* b_layout, const void* beta,
                                       const void* c, Layout* c_layout, void* d, Layout* d_layout,
                                       const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes,
                                       cudaStream_t stream) {
  if (handle == nullptr || handle->magic != kMagic) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (fails("cublasLtMatmul")) return CUBLAS_STATUS_EXECUTION_FAILED;
  uint64_t k = 0;
  const cublasStatus_t status = check(*description, *a_layout, *b_layout, *c_layout, *d_layout, k);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  Algorithm algorithm;
  std::memcpy(&algorithm, algo, sizeof algorithm);
  if (algorithm.magic != kMagic || algorithm.m != static_cast<int64_t>(d_layout->rows) ||
      algorithm.n != static_cast<int64_t>(d_layout->columns) || algorithm.k != static_cast<int64_t>(k) ||
      algorithm.epilogue != description->epilogue || workspace_bytes < algorithm.workspace) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const emulated::Services& services = emulated::services_of(stream);
  const void* const pointers[4] = {a, b, c, d};
  const Layout* const layouts[4] = {a_layout, b_layout, c_layout, d_layout};
  for (int i = 0; i < 4; ++i) {
    if (!is_aligned(pointers[i], algorithm.alignments[i])) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!services.allocated(pointers[i], bytes_of(*layouts[i]))) return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  if (description->epilogue == CUBLASLT_EPILOGUE_BIAS && !services.allocated(description->bias, 4 * d_layout->rows)) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  if (algorithm.workspace > 0 && (!is_aligned(workspace, 16) || !services.allocated(workspace, algorithm.workspace))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool tf32 = description->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const Product product{*description,
                        {static_cast<const char*>(a), *a_layout, tf32},
                        {static_cast<const char*>(b), *b_layout, tf32},
                        {static_cast<const char*>(c), *c_layout, false},
                        static_cast<float*>(d),
                        *d_layout,
                        *static_cast<const float*>(alpha),
                        *static_cast<const float*>(beta),
                        k,
                        static_cast<char*>(workspace),
                        algorithm.workspace,
                        algorithm.reduction_scheme};
  const cudaError_t error = services.submit(stream, [product, &services] {
    services.with_memory([&] { product.compute(); });
    for (uint64_t j = 0; j < product.d_layout.columns; ++j) {
      services.note_written(product.d + j * static_cast<uint64_t>(product.d_layout.ld), 4 * product.d_layout.rows);
    }
  });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
