#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "cuda/library/cublaslt.h"
#include "runtime/fork.h"

namespace engine::cuda::cublaslt {
namespace {

/// The names of the versions that are taken, the newest first.
constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
/// Older ones have not been compared with the declarations, and limit the sizes of matrices.
constexpr int kOldestVersion = 12;

template <class F>
bool load(void* library, const char* name, F*& function) {
  function = reinterpret_cast<F*>(dlsym(library, name));
  return function != nullptr;
}

bool load_all(void* library, Functions& f) {
  return load(library, "cublasLtGetProperty", f.get_property) && load(library, "cublasLtCreate", f.create) &&
         load(library, "cublasLtMatmulDescCreate", f.make_description) &&
         load(library, "cublasLtMatmulDescDestroy", f.destroy_description) &&
         load(library, "cublasLtMatmulDescSetAttribute", f.set_description) &&
         load(library, "cublasLtMatrixLayoutCreate", f.make_layout) &&
         load(library, "cublasLtMatrixLayoutDestroy", f.destroy_layout) &&
         load(library, "cublasLtMatmulPreferenceCreate", f.make_preference) &&
         load(library, "cublasLtMatmulPreferenceDestroy", f.destroy_preference) &&
         load(library, "cublasLtMatmulPreferenceSetAttribute", f.set_preference) &&
         load(library, "cublasLtMatmulAlgoGetHeuristic", f.find_algorithms) &&
         load(library, "cublasLtMatmul", f.multiply);
}

Library without(std::string why_not) {
  Library none;
  none.why_not = std::move(why_not);
  return none;
}

/// The functions of a library that dlopen has loaded, unless it is too old or has not all of them.
Library examine(void* opened, const std::string& name) {
  Library library;
  if (!load_all(opened, library.functions)) return without(name + " has not all functions of cuBLASLt");
  int numbers[3] = {};
  for (const Property property : {Property::kMajorVersion, Property::kMinorVersion, Property::kPatchLevel}) {
    const Status status = library.functions.get_property(property, &numbers[static_cast<int>(property)]);
    if (status != kSuccess) return without(name + " does not tell its version");
  }
  const std::string version =
      std::to_string(numbers[0]) + "." + std::to_string(numbers[1]) + "." + std::to_string(numbers[2]);
  if (numbers[0] < kOldestVersion) {
    return without(name + " is version " + version + ", and " + std::to_string(kOldestVersion) + " or later is needed");
  }
  library.version = version;
  return library;
}

Library load_file(const std::string& file) {
  void* const opened = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened) return examine(opened, file);
  const char* const error = dlerror();
  return without(error ? error : file + " can't be loaded");
}

/// Looks for the library where there is no path to it.
Library search(const std::vector<std::string>& candidates) {
#if defined(__CUDACC__)
  for (const char* const name : kNames) {
    void* const opened = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (opened) return examine(opened, name);
  }
  std::vector<std::string> files = candidates;
  files.insert(files.end(), std::begin(kNames), std::end(kNames));
  for (const std::string& file : files) {
    Library library = load_file(file);
    if (library.loaded()) return library;
  }
  return without("there is no libcublasLt.so.13 or .12: `pip install nvidia-cublas` brings one");
#else
  // NVIDIA's own library knows nothing of an emulated card.
  static_cast<void>(candidates);
  static_cast<void>(kNames);
  return without("an emulated card uses the library that ENGINE_CUBLASLT names");
#endif
}

/// Libraries by the value of ENGINE_CUBLASLT.
class Libraries {
 public:
  const Library& find() {
    const char* const asked = std::getenv("ENGINE_CUBLASLT");
    const std::string path = asked ? asked : "";
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = libraries_.find(path);
    if (known != libraries_.end()) return known->second;
    Library library = path == "off"  ? without("ENGINE_CUBLASLT is off")
                      : path.empty() ? search(candidates_)
                                     : load_file(path);
    return libraries_.emplace(path, std::move(library)).first->second;
  }
  void set_candidates(std::vector<std::string> files) {
    const std::lock_guard<std::mutex> lock(mutex_);
    candidates_ = std::move(files);
  }

 private:
  static void reset(void* libraries) { new (&static_cast<Libraries*>(libraries)->mutex_) std::mutex; }

  std::mutex mutex_;
  std::map<std::string, Library> libraries_;
  std::vector<std::string> candidates_;
  ChildReset after_fork_{this, reset};
};

Libraries& libraries() {
  static Libraries& all = *new Libraries;
  return all;
}

}  // namespace

const Library& find_library() { return libraries().find(); }

void set_candidates(std::vector<std::string> files) { libraries().set_candidates(std::move(files)); }

}  // namespace engine::cuda::cublaslt
