// Prefetches rows of the data set that the next step reads, during the products of this one.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Prefetches a few cache lines per call: shuffled rows come from main memory, and all of them at once would stall.
class RowPrefetcher {
 public:
  /// Over `calls` calls of `fetch`.
  RowPrefetcher(const Ahead& ahead, int64_t calls)
      : ahead_(ahead), per_call_(ahead.count > 0 && calls > 0 ? ahead.count * (ahead.bytes / 64 + 2) / calls + 1 : 0) {}

  ENGINE_INLINE void fetch() {
    for (int64_t i = 0; i < per_call_ && row_ < ahead_.count; ++i) {
      // A row begins anywhere in its first line, so that its last byte may be in one more than it would fill.
      const bool last = byte_ >= ahead_.bytes - 1;
      __builtin_prefetch(static_cast<const char*>(ahead_.rows[row_]) + (last ? ahead_.bytes - 1 : byte_), 0, 2);
      byte_ = last ? 0 : byte_ + 64;
      row_ += last;
    }
  }

 private:
  const Ahead& ahead_;
  int64_t per_call_, row_ = 0, byte_ = 0;
};

}  // namespace
}  // namespace engine::ENGINE_ISA
