#include "runtime/arena.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

namespace engine {
namespace {

/// Large blocks consist of huge pages. The first access to an ordinary page takes 1.5 us on a virtual machine, as long
/// as it takes to make the sparse records that the page holds, for MNIST.
constexpr size_t kHugePage = kLargeBlock;
constexpr size_t kLineBytes = kLineFloats * sizeof(float);

#if defined(_WIN32)  // which has no std::aligned_alloc
void* allocate_aligned(size_t alignment, size_t bytes) { return _aligned_malloc(bytes, alignment); }
void free_aligned(void* p) { _aligned_free(p); }
#else
void* allocate_aligned(size_t alignment, size_t bytes) { return std::aligned_alloc(alignment, bytes); }
void free_aligned(void* p) { std::free(p); }
#endif

/// Large blocks that were freed and may be used again. The first access to new huge pages takes 0.1 ms per MB, and 2 ms
/// if a virtual machine has given the memory back to its host in the meantime. For the records of MNIST, which take 5
/// ms to write, that is 6 ms, or 27.
class SpareBlocks {
 public:
  SpareBlocks() { blocks_.reserve(kMaxBytes / kHugePage); }

  /// Returns the smallest block of at least `bytes` bytes that is not far too large, and sets `bytes` to its size.
  /// Returns null if there is none.
  void* take(size_t& bytes) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) return nullptr;
    auto best = blocks_.end();
    for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
      const bool fits = block->bytes >= bytes && block->bytes / kMaxTimes <= bytes;
      if (fits && (best == blocks_.end() || block->bytes < best->bytes)) best = block;
    }
    if (best == blocks_.end()) return nullptr;
    void* const p = best->p;
    bytes = best->bytes;
    kept_ -= bytes;
    blocks_.erase(best);
    return p;
  }

  /// Keeps a block, and frees the oldest ones if that makes too many bytes.
  void keep(void* p, size_t bytes) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock || bytes > kMaxBytes) return free_aligned(p);
    while (kept_ + bytes > kMaxBytes) {
      kept_ -= blocks_.front().bytes;
      free_aligned(blocks_.front().p);
      blocks_.erase(blocks_.begin());
    }
    kept_ += bytes;
    blocks_.push_back({p, bytes});
  }

 private:
  struct Block {
    void* p;
    size_t bytes;
  };
  static constexpr size_t kMaxBytes = 64 << 20, kMaxTimes = 2;

  std::mutex mutex_;           // only tried, never waited for: in a forked child it may be locked for ever
  std::vector<Block> blocks_;  // the oldest first; never grows beyond its capacity, since freeing must not allocate
  size_t kept_ = 0;
};

/// The object is never destroyed, since static objects may free blocks when the process ends.
SpareBlocks& spare_blocks() {
  static auto& blocks = *new SpareBlocks;
  return blocks;
}

}  // namespace

void FreeStorage::operator()(void* p) const {
  if (kept_bytes > 0) {
    spare_blocks().keep(p, kept_bytes);
  } else {
    free_aligned(p);
  }
}

std::unique_ptr<void, FreeStorage> allocate(int64_t bytes) {
  const bool large = bytes >= kLargeBlock;
  const size_t alignment = large ? kHugePage : kLineBytes;
  auto size = static_cast<size_t>(round_up(bytes > 0 ? bytes : 1, static_cast<int64_t>(alignment)));
  if (large) {
    if (void* const p = spare_blocks().take(size)) return {p, FreeStorage{size}};
  }
  std::unique_ptr<void, FreeStorage> storage(allocate_aligned(alignment, size), FreeStorage{large ? size : 0});
  if (!storage) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (large) madvise(storage.get(), size, MADV_HUGEPAGE);
#endif
  return storage;
}

}  // namespace engine
