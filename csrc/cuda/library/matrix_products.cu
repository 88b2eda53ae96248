#include <memory>

#include "cuda/library/matrix_products.h"

namespace engine::cuda {
namespace {

using namespace cublaslt;

/// Algorithms to choose from: the first that can run is the fastest, as the library predicts.
constexpr int kMaxAlgorithms = 8;

void check_call(Status status, const char* doing) {
  if (status == kSuccess) return;
  throw Error(std::string("cuBLASLt failed while ") + doing + ", with cublasStatus_t " + std::to_string(status) +
              ": set ENGINE_CUBLASLT=off in the environment for products without it");
}

DataType operand_type(Precision precision) {
  if (precision == Precision::kBfloat16) return DataType::kBfloat16;
  return precision == Precision::kFloat16 ? DataType::kFloat16 : DataType::kFloat32;
}

/// An object of the library, which is destroyed with this one.
template <class T>
class Owned {
 public:
  template <class... Arguments>
  Owned(Status (*make)(T*, Arguments...), Status (*destroy)(T), Arguments... arguments) : destroy_(destroy) {
    check_call(make(&object_, arguments...), "describing a product");
  }
  ~Owned() { destroy_(object_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  T get() const { return object_; }

 private:
  Status (*destroy_)(T);
  T object_ = nullptr;
};

/// A product as the library sees it: D (n, m) = A (n, k) B (k, m) in columns, where A is our b, and B our a.
class Described {
 public:
  Described(const Functions& f, const MatrixProduct& p, const float* bias)
      : description_(f.make_description, f.destroy_description,
                     p.precision == Precision::kTensorFloat32 ? ComputeType::kFastTensorFloat32 : ComputeType::kFloat32,
                     DataType::kFloat32),
        a_(f.make_layout, f.destroy_layout, operand_type(p.precision), unsigned_of(p.transpose_b ? p.k : p.n),
           unsigned_of(p.transpose_b ? p.n : p.k), p.ldb),
        b_(f.make_layout, f.destroy_layout, operand_type(p.precision), unsigned_of(p.transpose_a ? p.m : p.k),
           unsigned_of(p.transpose_a ? p.k : p.m), p.lda),
        d_(f.make_layout, f.destroy_layout, DataType::kFloat32, unsigned_of(p.n), unsigned_of(p.m), p.n) {
    const auto set = [&](DescriptionAttribute attribute, auto value) {
      check_call(f.set_description(description(), attribute, &value, sizeof value), "describing a product");
    };
    set(DescriptionAttribute::kTransposeA, p.transpose_b ? Transpose::kTransposed : Transpose::kAsStored);
    set(DescriptionAttribute::kTransposeB, p.transpose_a ? Transpose::kTransposed : Transpose::kAsStored);
    set(DescriptionAttribute::kEpilogue, p.has_bias ? Epilogue::kBias : Epilogue::kNothing);
    if (p.has_bias) set(DescriptionAttribute::kBiasPointer, bias);
  }

  Description description() const { return description_.get(); }
  MatrixLayout a() const { return a_.get(); }
  MatrixLayout b() const { return b_.get(); }
  MatrixLayout d() const { return d_.get(); }

 private:
  static uint64_t unsigned_of(int64_t size) { return static_cast<uint64_t>(size); }

  Owned<Description> description_;
  Owned<MatrixLayout> a_, b_, d_;
};

}  // namespace

std::optional<MatrixProducts::Plan> MatrixProducts::find_plan(const MatrixProduct& product, int64_t workspace_bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto key = std::make_pair(product.key(), workspace_bytes);
  const auto known = plans_.find(key);
  if (known != plans_.end()) return known->second;
  return plans_[key] = ask_for_plan(product, workspace_bytes);
}

std::optional<MatrixProducts::Plan> MatrixProducts::ask_for_plan(const MatrixProduct& product,
                                                                 int64_t workspace_bytes) const {
  const Functions& f = library_.functions;
  // The library looks at the pointer for its alignment alone.
  const Described described(f, product, reinterpret_cast<const float*>(kMatrixAlignment));
  const Owned<Preference> preference(f.make_preference, f.destroy_preference);
  const auto prefer = [&](PreferenceAttribute attribute, auto value) {
    check_call(f.set_preference(preference.get(), attribute, &value, sizeof value), "choosing an algorithm");
  };
  prefer(PreferenceAttribute::kMaxWorkspaceBytes, static_cast<uint64_t>(workspace_bytes));
  // Sums by one thread, or in parts that one kernel adds in order: the same bits each time.
  prefer(PreferenceAttribute::kReductionSchemes, kReductionInWorkspace);
  for (const PreferenceAttribute alignment :
       {PreferenceAttribute::kLeastAlignmentOfA, PreferenceAttribute::kLeastAlignmentOfB,
        PreferenceAttribute::kLeastAlignmentOfC, PreferenceAttribute::kLeastAlignmentOfD}) {
    prefer(alignment, static_cast<uint32_t>(kMatrixAlignment));
  }
  HeuristicResult found[kMaxAlgorithms];
  int count = 0;
  const Status status = f.find_algorithms(handle_, described.description(), described.a(), described.b(), described.d(),
                                          described.d(), preference.get(), kMaxAlgorithms, found, &count);
  if (status != kSuccess) return std::nullopt;
  for (int i = 0; i < count; ++i) {
    if (found[i].state != kSuccess || found[i].workspace_bytes > static_cast<size_t>(workspace_bytes)) continue;
    return Plan{found[i].algorithm, static_cast<int64_t>(found[i].workspace_bytes)};
  }
  return std::nullopt;
}

void MatrixProducts::multiply(const MatrixProduct& product, const Plan& plan, const ProductMemory& memory,
                              cudaStream_t stream) const {
  const Functions& f = library_.functions;
  const Described described(f, product, memory.bias);
  const float one = 1.0f, of_addend = product.has_addend ? 1.0f : 0.0f;
  const float* const addend = product.has_addend ? memory.addend : memory.result;
  check_call(f.multiply(handle_, described.description(), &one, memory.b, described.a(), memory.a, described.b(),
                        &of_addend, addend, described.d(), memory.result, described.d(), &plan.algorithm,
                        memory.workspace, static_cast<size_t>(plan.workspace_bytes), stream),
             "multiplying matrices");
}

namespace {

/// The libraries on all cards that have used one.
class AllMatrixProducts {
 public:
  MatrixProducts* find(const Library& library) {
    int card = 0;
    check(cudaGetDevice(&card), "asking which it is");
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& found = all_[{&library, card}];
    if (!found) {
      Handle handle = nullptr;
      check_call(library.functions.create(&handle), "starting");
      found = std::make_unique<MatrixProducts>(library, handle);
    }
    return found.get();
  }

 private:
  static void reset(void* all) { new (&static_cast<AllMatrixProducts*>(all)->mutex_) std::mutex; }

  std::mutex mutex_;
  std::map<std::pair<const Library*, int>, std::unique_ptr<MatrixProducts>> all_;
  ChildReset after_fork_{this, reset};
};

}  // namespace

MatrixProducts* find_matrix_products() {
  static AllMatrixProducts& all = *new AllMatrixProducts;
  const Library& library = find_library();
  return library.loaded() ? all.find(library) : nullptr;
}

std::string products_state() {
  const Library& library = find_library();
  if (library.loaded()) return "large products by cuBLASLt " + library.version;
  return "large products by own kernels: " + library.why_not;
}

}  // namespace engine::cuda
