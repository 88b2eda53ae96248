// Packing: rows of A are copied into panels of mr rows, and columns of B into panels of nr columns, which the tiles of
// gemm.h then read from end to end. These are copies, which last for a product; the panels in which weights are stored
// (layout.h) are others. Rows of A and columns of B are called lines here. What comes next is prefetched
// into the L2 cache, which can wait for more cache lines at once than L1 can.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// Packs lines that are adjacent in memory (column-major A, row-major B), kPanelsPerPass panels in one pass: each row
/// of a large operand is on another page of memory, and one pass for each panel would visit all of them again.
template <int Lines>
ENGINE_INLINE void pack_contiguous(const PackArgs& op) {
  constexpr int kPanelsPerPass = 8;
  constexpr int64_t kPrefetchDistance = 16;  // in rows; the hardware's prefetchers see no pattern in them
  const int64_t whole = op.lines / Lines, rest = op.lines % Lines;
  const auto row = [&op](int64_t p) { return op.k_pointers ? op.k_pointers[p] + op.first : op.in + p * op.k_stride; };
  for (int64_t panel = 0; panel < whole; panel += kPanelsPerPass) {
    const int64_t count = whole - panel < kPanelsPerPass ? whole - panel : kPanelsPerPass;
    for (int64_t p = 0; p < op.k; ++p) {
      const float* in = row(p) + panel * Lines;
      const float* later =
          row(op.k_pointers && p + kPrefetchDistance >= op.k ? p : p + kPrefetchDistance) + panel * Lines;
      float* out = op.out + panel * Lines * op.depth + p * Lines;
      for (int64_t i = 0; i < count * Lines; i += kLineFloats) __builtin_prefetch(later + i, 0, 2);
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(out + i * Lines * op.depth, in + i * Lines, Lines * sizeof(float));
      }
    }
  }
  if (rest == 0) return;
  // The last vector of a panel may reach into the row behind it, which is written later, or behind the panels.
  float* out = op.out + whole * Lines * op.depth;
  for (int64_t p = 0; p < op.k; ++p, out += Lines) {
    const float* in = row(p) + whole * Lines;
    for (int64_t i = 0; i < rest; i += kWidth) {
      const int64_t left = rest - i;
      store(out + i, left >= kWidth ? load(in + i) : load_partial(in + i, left));
    }
  }
}

/// Packs one panel of lines that are contiguous along k (row-major A, column-major B): squares of kWidth x kWidth are
/// transposed in registers. `Rows` is the number of lines in a square.
template <int Rows>
void pack_transposed(const float* in, int64_t stride, int64_t lines, int64_t k, float* out, int64_t panel) {
  for (int64_t p = 0; p < k; p += kWidth) {
    const int64_t count = k - p < kWidth ? k - p : kWidth;
    for (int64_t first = 0; first < panel && first < lines; first += kWidth) {
      const float* from = in + first * stride + p;
      const int64_t left = lines - first;
      vf square[kWidth] = {};
      if (count == kWidth && left >= Rows) {
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          square[i] = load(from + i * stride);
          if (lines > panel) __builtin_prefetch(from + (panel + i) * stride, 0, 2);  // of the next panel
        }
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          if (i < left) square[i] = load_partial(from + i * stride, count);
        }
      }
      transpose_square(square);
      float* to = out + p * panel + first;
      if (count == kWidth) {
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) store(to + i * panel, square[i]);
      } else {
        float rest[kWidth * kWidth];
        std::memcpy(rest, square, sizeof rest);
        for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * panel, rest + i * kWidth, Rows * sizeof(float));
      }
    }
  }
}

template <int Lines>
void pack(const PackArgs& op) {
  if (op.line_stride == 1) return pack_contiguous<Lines>(op);
  for (int64_t first = 0; first < op.lines; first += Lines) {
    const float* in = op.in + first * op.line_stride;
    float* out = op.out + first * op.depth;
    const int64_t lines = op.lines - first;
    if (op.k_stride == 1) {
      constexpr int kRows = Lines < kWidth ? Lines : kWidth;
      pack_transposed<kRows>(in, op.line_stride, lines, op.k, out, Lines);
    } else {
      for (int64_t p = 0; p < op.k; ++p) {
        for (int64_t i = 0; i < Lines; ++i)
          out[p * Lines + i] = i < lines ? in[i * op.line_stride + p * op.k_stride] : 0.0f;
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
