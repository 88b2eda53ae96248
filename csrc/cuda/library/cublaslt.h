// What this project calls of cuBLASLt, NVIDIA's library of matrix products. The library is loaded when it is first
// needed, so a build needs neither its header nor the library itself. The declarations are made after the chapter
// "Using the cuBLASLt API" of the documentation of cuBLAS; the numbers are those of cublasLt.h, cublas_api.h and
// library_types.h in public copies from the time of CUDA 11, and have not been compared with the headers of CUDA 13.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/runtime.h"

namespace engine::cuda::cublaslt {

/// cublasStatus_t
using Status = int;
inline constexpr Status kSuccess = 0;

/// cublasComputeType_t
enum class ComputeType : int32_t {
  kFloat32 = 68,           // CUBLAS_COMPUTE_32F
  kFastTensorFloat32 = 77  // CUBLAS_COMPUTE_32F_FAST_TF32
};

/// cudaDataType
enum class DataType : int32_t {
  kFloat32 = 0,   // CUDA_R_32F
  kFloat16 = 2,   // CUDA_R_16F
  kBfloat16 = 14  // CUDA_R_16BF
};

/// cublasOperation_t
enum class Transpose : int32_t {
  kAsStored = 0,   // CUBLAS_OP_N
  kTransposed = 1  // CUBLAS_OP_T
};

/// cublasLtMatmulDescAttributes_t
enum class DescriptionAttribute : int32_t {
  kTransposeA = 3,  // CUBLASLT_MATMUL_DESC_TRANSA
  kTransposeB = 4,  // CUBLASLT_MATMUL_DESC_TRANSB
  kEpilogue = 7,    // CUBLASLT_MATMUL_DESC_EPILOGUE
  kBiasPointer = 8  // CUBLASLT_MATMUL_DESC_BIAS_POINTER
};

/// cublasLtEpilogue_t
enum class Epilogue : uint32_t {
  kNothing = 1,  // CUBLASLT_EPILOGUE_DEFAULT
  kBias = 4      // CUBLASLT_EPILOGUE_BIAS
};

/// cublasLtMatmulPreferenceAttributes_t
enum class PreferenceAttribute : int32_t {
  kMaxWorkspaceBytes = 1,  // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
  kReductionSchemes = 3,   // CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK
  kLeastAlignmentOfA = 5,  // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES
  kLeastAlignmentOfB = 6,  // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES
  kLeastAlignmentOfC = 7,  // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES
  kLeastAlignmentOfD = 8   // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
};

/// A bit of cublasLtReductionScheme_t: parts of a sum are stored in the workspace, and added by a second kernel. The
/// other schemes add them to the result, in place.
inline constexpr uint32_t kReductionInWorkspace = 2;  // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE

/// libraryPropertyType
enum class Property : int32_t {
  kMajorVersion = 0,  // MAJOR_VERSION
  kMinorVersion = 1,  // MINOR_VERSION
  kPatchLevel = 2     // PATCH_LEVEL
};

using Handle = struct HandleOfLibrary*;            // cublasLtHandle_t
using Description = struct DescriptionOfLibrary*;  // cublasLtMatmulDesc_t
using MatrixLayout = struct LayoutOfLibrary*;      // cublasLtMatrixLayout_t
using Preference = struct PreferenceOfLibrary*;    // cublasLtMatmulPreference_t

/// cublasLtMatmulAlgo_t
struct Algorithm {
  uint64_t data[8];
};

/// cublasLtMatmulHeuristicResult_t
struct HeuristicResult {
  Algorithm algorithm;
  size_t workspace_bytes;
  Status state;
  float waves;
  int32_t reserved[4];
};
static_assert(sizeof(HeuristicResult) == 96);

/// The functions of a library that has been loaded. Those that make an object have a function that destroys it.
struct Functions {
  Status (*get_property)(Property, int*);
  Status (*create)(Handle*);
  Status (*make_description)(Description*, ComputeType, DataType of_scale);
  Status (*destroy_description)(Description);
  Status (*set_description)(Description, DescriptionAttribute, const void* value, size_t bytes);
  Status (*make_layout)(MatrixLayout*, DataType, uint64_t rows, uint64_t columns, int64_t ld);
  Status (*destroy_layout)(MatrixLayout);
  Status (*make_preference)(Preference*);
  Status (*destroy_preference)(Preference);
  Status (*set_preference)(Preference, PreferenceAttribute, const void* value, size_t bytes);
  Status (*find_algorithms)(Handle, Description, MatrixLayout a, MatrixLayout b, MatrixLayout c, MatrixLayout d,
                            Preference, int most, HeuristicResult* found, int* count);
  Status (*multiply)(Handle, Description, const void* alpha, const void* a, MatrixLayout, const void* b, MatrixLayout,
                     const void* beta, const void* c, MatrixLayout, void* d, MatrixLayout, const Algorithm*,
                     void* workspace, size_t workspace_bytes, cudaStream_t);
};

/// A library, or why there is none.
struct Library {
  Functions functions = {};
  std::string version;  // "13.0.2"; empty: there is none
  std::string why_not;

  bool loaded() const { return !version.empty(); }
};

/// The library of this process. It is, in this order, that of the path in ENGINE_CUBLASLT ("off": none), one that the
/// process has loaded already, the first of `set_candidates`, or the one that the system's loader finds. It is looked
/// for anew when ENGINE_CUBLASLT has changed, and stays loaded.
const Library& find_library();

/// Files that may be the library, such as those of packages for pip.
void set_candidates(std::vector<std::string> files);

}  // namespace engine::cuda::cublaslt
