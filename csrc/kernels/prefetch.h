// Prefetches rows of the data set that the next step reads, during the products of this one.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Prefetches a few cache lines in each of `calls` calls of `fetch`: rows of a shuffled data set come from main memory,
/// and if all were requested at once, the products would wait for them.
class RowPrefetcher {
 public:
  RowPrefetcher(const RowsToPrefetch& rows, int64_t calls)
      : rows_(rows), per_call_(rows.count > 0 && calls > 0 ? rows.count * (rows.bytes / 64 + 2) / calls + 1 : 0) {}

  ENGINE_INLINE void fetch() {
    for (int64_t i = 0; i < per_call_ && row_ < rows_.count; ++i) {
      // A row need not begin at a cache line, so that its last byte may be in one line more than its size would fill.
      const bool last = byte_ >= rows_.bytes - 1;
      __builtin_prefetch(static_cast<const char*>(rows_.rows[row_]) + (last ? rows_.bytes - 1 : byte_), 0, 2);
      byte_ = last ? 0 : byte_ + 64;
      row_ += last;
    }
  }

 private:
  const RowsToPrefetch& rows_;
  int64_t per_call_, row_ = 0, byte_ = 0;
};

}  // namespace
}  // namespace engine::ENGINE_ISA
