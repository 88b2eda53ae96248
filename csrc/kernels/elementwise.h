// Kernels that visit each element once: sums of two arrays, dropout, transposition, the search for values that are not
// finite.
#pragma once
#include <type_traits>

#include "kernels/blocks.h"
#include "kernels/microtile.h"
#include "kernels/random.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

void add(const ElementwiseArgs& op) {
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) { store(op.y + at, load(op.x + at) + load(op.saved + at)); });
}

void dropout_forward(const DropoutArgs& op) {
  const vu threshold = words_below(op.rate);
  const vf keep = broadcast(op.rate < 1.0 ? static_cast<float>(1.0 / (1.0 - op.rate)) : 0.0f);
  for_random({op.rows, op.columns, op.seed, op.step, op.first, false}, [&](int64_t b, int64_t column, vu words) {
    const int64_t at = b * op.ld + column;
    const vf factor = words >= threshold ? keep : vf{};
    store(op.mask + at, factor);
    store(op.y + at, load(op.x + at) * factor);
  });
}

/// Squares of whole vectors are transposed in registers, so that neither side is visited with a long stride.
void transpose(const TransposeArgs& op) {
  for (int64_t r = op.rows.begin; r < op.rows.end; r += kWidth) {
    const int64_t r_end = op.rows.end < r + kWidth ? op.rows.end : r + kWidth;
    for (int64_t c = op.columns.begin; c < op.columns.end; c += kWidth) {
      const int64_t c_end = op.columns.end < c + kWidth ? op.columns.end : c + kWidth;
      if (r_end - r == kWidth && c_end - c == kWidth) {
        vf square[kWidth];
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) square[i] = load(op.in + (r + i) * op.ld_in + c);
        transpose_square(square);
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) store(op.out + (c + i) * op.ld_out + r, square[i]);
        continue;
      }
      for (int64_t j = c; j < c_end; ++j) {
        for (int64_t i = r; i < r_end; ++i) op.out[j * op.ld_out + i] = op.in[i * op.ld_in + j];
      }
    }
  }
}

/// First row with a value that is no finite float32, -1 for none. Comparisons are false for a NaN.
template <class T>
int64_t first_nonfinite(const NonFiniteArgs& op) {
  constexpr T kLargest = __FLT_MAX__;
  constexpr int64_t kValues = ENGINE_VECTOR_BYTES / sizeof(T);
  using Mask = std::conditional_t<sizeof(T) == sizeof(float), int32_t, int64_t>;
  typedef T Values __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
  typedef Mask Masks __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
  constexpr int64_t kBlock = 64 * kValues;
  const auto* x = static_cast<const T*>(op.data);
  const int64_t end = op.rows.end * op.k;
  for (int64_t i = op.rows.begin * op.k; i < end; i += kBlock) {
    Masks finite = ~Masks{};
    const int64_t stop = end < i + kBlock ? end : i + kBlock;
    int64_t j = i;
    for (; j + kValues <= stop; j += kValues) {
      Values v;
      std::memcpy(&v, x + j, sizeof v);
      finite &= (v <= kLargest) & (v >= -kLargest);
    }
    bool all = true;
    for (; j < stop; ++j) all &= x[j] <= kLargest && x[j] >= -kLargest;
    for (int64_t l = 0; l < kValues; ++l) all &= finite[l] != 0;
    if (all) continue;
    for (j = i; x[j] <= kLargest && x[j] >= -kLargest;) ++j;
    return j / op.k;
  }
  return -1;
}

template <>
int64_t first_nonfinite<uint8_t>(const NonFiniteArgs&) {
  return -1;
}

}  // namespace
}  // namespace engine::ENGINE_ISA
