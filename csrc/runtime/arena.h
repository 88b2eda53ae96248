// Memory whose start is aligned to cache lines. Large blocks are aligned to huge pages.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "kernels/layout.h"

namespace engine {

/// Blocks of this many bytes or more lie in huge pages, and are kept for later calls of `allocate` when they are freed.
inline constexpr int64_t kLargeBlock = 2 << 20;

/// Frees a block, or keeps a large one for later calls of `allocate`.
struct FreeStorage {
  size_t kept_bytes = 0;  // size of a large block; 0 for others

  void operator()(void* p) const;
};

/// Allocates `bytes` bytes, not initialised. Pages that are never written to take no memory. A large block may be one
/// that was freed before: up to 64 MiB in all are kept, since the first access to a page often takes longer than the
/// work on its contents. Throws std::bad_alloc.
std::unique_ptr<void, FreeStorage> allocate(int64_t bytes);

/// An array of floats in the memory of a device. Those of the CPU are zero at first.
class Arena {
 public:
  Arena() = default;
  /// In memory of the CPU.
  explicit Arena(int64_t floats) : data_(allocate(floats * static_cast<int64_t>(sizeof(float)))) {
    std::memset(data_.get(), 0, static_cast<size_t>(floats) * sizeof(float));
  }
  /// In memory of another device, which frees it with its last owner.
  explicit Arena(std::shared_ptr<void> memory) : data_(std::move(memory)) {}
  float* data() const { return static_cast<float*>(data_.get()); }

 private:
  std::shared_ptr<void> data_;
};

}  // namespace engine
