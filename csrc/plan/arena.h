// Storage on cache lines, in huge pages where there is much of it.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>

#include "kernels/layout.h"

namespace engine {

/// Large blocks are kept for whoever wants one next, as `allocate` says.
struct FreeStorage {
  size_t kept_bytes = 0;  // of a large block

  void operator()(void* p) const;
};

/// Uninitialised bytes; what is never written to takes no memory. Large blocks may be those that somebody freed: up to
/// 64 MiB in all are kept, as touching memory for the first time takes as long as much that is done with it. Throws
/// std::bad_alloc.
std::unique_ptr<void, FreeStorage> allocate(int64_t bytes);

/// Zeroed floats.
class Arena {
 public:
  Arena() = default;
  explicit Arena(int64_t floats) : data_(allocate(floats * static_cast<int64_t>(sizeof(float)))) {
    std::memset(data_.get(), 0, static_cast<size_t>(floats) * sizeof(float));
  }
  float* data() const { return static_cast<float*>(data_.get()); }

 private:
  std::unique_ptr<void, FreeStorage> data_;
};

}  // namespace engine
