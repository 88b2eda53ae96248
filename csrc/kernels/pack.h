// Operands of a general product, copied into panels that the tiles of gemm.h read from end to end.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

// What comes next is asked for in the L2 cache, to which more lines can be on their way than to L1.

// Vectors of a panel narrower than a vector go over the end of the one before; the buffer has room for the last.

/// Panels from lanes that lie next to each other: kTogether at a time, so that the rows of a large operand, each on a
/// page of its own, are not visited once per panel.
template <int Lanes>
ENGINE_INLINE void pack_contiguous(const Pack& op) {
  constexpr int kTogether = 8;
  constexpr int64_t kRowsAhead = 16;  // for which the prefetchers see no pattern
  const int64_t whole = op.lanes / Lanes, rest = op.lanes % Lanes;
  const auto row = [&op](int64_t p) { return op.rows ? op.rows[p] + op.first : op.in + p * op.next; };
  for (int64_t panel = 0; panel < whole; panel += kTogether) {
    const int64_t count = whole - panel < kTogether ? whole - panel : kTogether;
    for (int64_t p = 0; p < op.k; ++p) {
      const float* in = row(p) + panel * Lanes;
      const float* ahead = row(op.rows && p + kRowsAhead >= op.k ? p : p + kRowsAhead) + panel * Lanes;
      float* out = op.out + panel * Lanes * op.depth + p * Lanes;
      for (int64_t i = 0; i < count * Lanes; i += kLane) __builtin_prefetch(ahead + i, 0, 2);
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(out + i * Lanes * op.depth, in + i * Lanes, Lanes * sizeof(float));
      }
    }
  }
  if (rest == 0) return;
  float* out = op.out + whole * Lanes * op.depth;
  for (int64_t p = 0; p < op.k; ++p, out += Lanes) {
    const float* in = row(p) + whole * Lanes;
    for (int64_t i = 0; i < rest; i += kWidth) {
      const int64_t left = rest - i;
      store(out + i, left >= kWidth ? load(in + i) : load_part(in + i, left));
    }
  }
}

/// A panel from lanes that are contiguous along k, turned in squares of Rows lanes, which are written in the order of
/// k. Not inlined: panels of several widths are made of the same squares.
template <int Rows>
__attribute__((noinline)) void pack_transposed(const float* in, int64_t lane, int64_t lanes, int64_t k, float* out,
                                               int64_t panel) {
  for (int64_t p = 0; p < k; p += kWidth) {
    const int64_t count = k - p < kWidth ? k - p : kWidth;
    for (int64_t first = 0; first < panel && first < lanes; first += kWidth) {
      const float* from = in + first * lane + p;
      const int64_t there = lanes - first;
      vf square[kWidth] = {};
      if (count == kWidth && there >= Rows) {
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          square[i] = load(from + i * lane);
          if (lanes > panel) __builtin_prefetch(from + (panel + i) * lane, 0, 2);  // of the next panel
        }
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          if (i < there) square[i] = load_part(from + i * lane, count);
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

template <int Lanes>
void pack(const Pack& op) {
  if (op.lane == 1) return pack_contiguous<Lanes>(op);
  for (int64_t first = 0; first < op.lanes; first += Lanes) {
    const float* in = op.in + first * op.lane;
    float* out = op.out + first * op.depth;
    const int64_t lanes = op.lanes - first;
    if (op.next == 1) {
      constexpr int kRows = Lanes < kWidth ? Lanes : kWidth;
      pack_transposed<kRows>(in, op.lane, lanes, op.k, out, Lanes);
    } else {
      for (int64_t p = 0; p < op.k; ++p) {
        for (int64_t i = 0; i < Lanes; ++i) out[p * Lanes + i] = i < lanes ? in[i * op.lane + p * op.next] : 0.0f;
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
