// Storage on cache lines, in huge pages where there is much of it.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

#include "kernels/kinds.h"

namespace engine {

#if defined(_WIN32)  // which has aligned storage, but not by the names of C
inline void* allocate_aligned(size_t alignment, size_t bytes) { return _aligned_malloc(bytes, alignment); }
inline void free_aligned(void* p) { _aligned_free(p); }
#else
inline void* allocate_aligned(size_t alignment, size_t bytes) { return std::aligned_alloc(alignment, bytes); }
inline void free_aligned(void* p) { std::free(p); }
#endif

struct FreeStorage {
  void operator()(void* p) const { free_aligned(p); }
};

/// Uninitialised bytes; what is never written to takes no memory. Throws std::bad_alloc.
inline std::unique_ptr<void, FreeStorage> allocate(int64_t bytes) {
  // A first touch costs 1.5 us per ordinary page on a virtual machine: as long as recording the rows of MNIST that a
  // page holds.
  constexpr int64_t kHugePage = 2 << 20;
  constexpr int64_t kLineBytes = kLane * static_cast<int64_t>(sizeof(float));
  const int64_t alignment = bytes >= kHugePage ? kHugePage : kLineBytes;
  const auto size = static_cast<size_t>(round_up(bytes > 0 ? bytes : 1, alignment));
  std::unique_ptr<void, FreeStorage> storage(allocate_aligned(static_cast<size_t>(alignment), size));
  if (!storage) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (alignment == kHugePage) madvise(storage.get(), size, MADV_HUGEPAGE);
#endif
  return storage;
}

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
