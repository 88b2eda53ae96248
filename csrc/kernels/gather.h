// Rows of the data set on their way into a batch: read where they lie, converted, and searched for zeros.
#pragma once
#include <type_traits>

#include "kernels/nonzeros.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Rows that tell whether it is worth going on looking for zeros.
constexpr int64_t kProbe = 8;

template <class T>
ENGINE_INLINE const T* source_row(const Gather& op, int64_t b) {
  const int64_t row = op.order ? op.order[op.first + b] : op.first + b;
  return static_cast<const T*>(op.data) + row * op.stride;
}

/// Shuffled rows come from main memory; asked for one batch ahead, they are in the L2 cache when needed.
template <class T>
ENGINE_INLINE void prefetch_row(const Gather& op, int64_t sample) {
  constexpr int64_t kPerLine = 64 / sizeof(T);
  if (!op.order || sample >= op.samples) return;
  const T* row = static_cast<const T*>(op.data) + op.order[sample] * op.stride;
  for (int64_t j = 0; j < op.k; j += kPerLine) __builtin_prefetch(row + j, 0, 2);
}

/// float32(value) * scale + offset
template <class T>
ENGINE_INLINE void convert(const T* __restrict in, float* __restrict out, int64_t n, float scale, float offset) {
  if (scale == 1.0f && offset == 0.0f) {
    for (int64_t j = 0; j < n; ++j) out[j] = static_cast<float>(in[j]);
  } else {
    for (int64_t j = 0; j < n; ++j) out[j] = fma1(static_cast<float>(in[j]), scale, offset);
  }
}

/// Bit j is set where in[j] is not zero, for the first n of at most 64 values.
template <class T>
ENGINE_INLINE uint64_t nonzero_bits(const T* in, int64_t n) {
  typedef T Group __attribute__((vector_size(kWidth * sizeof(T))));
  uint64_t bits = 0;
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) {
    Group group;
    std::memcpy(&group, in + j, sizeof group);
    bits |= static_cast<uint64_t>(lane_bits(__builtin_convertvector(group, vf) != 0.0f)) << j;
  }
  for (; j < n; ++j) bits |= static_cast<uint64_t>(in[j] != T{0}) << j;
  return bits;
}

/// Bits that are set. Not every instruction set has a population count, and the kernels call no library.
ENGINE_INLINE int64_t count_bits(uint64_t word) {
#ifdef __POPCNT__
  return __builtin_popcountll(word);
#else
  word -= (word >> 1) & 0x5555555555555555;
  word = (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333);
  word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return static_cast<int64_t>((word * 0x0101010101010101) >> 56);
#endif
}

/// (64, 64) bits, transposed by exchanging ever smaller blocks (Warren, Hacker's Delight, 7-3).
template <int Block = 32>
ENGINE_INLINE void transpose_bits(uint64_t (&a)[kWordBits], uint64_t left = 0xffffffff) {
  for (int base = 0; base < kWordBits; base += 2 * Block) {
    for (int i = base; i < base + Block; ++i) {
      const uint64_t swap = ((a[i] >> Block) ^ a[i + Block]) & left;
      a[i] ^= swap << Block;
      a[i + Block] ^= swap;
    }
  }
  if constexpr (Block > 1) transpose_bits<Block / 2>(a, left ^ (left << (Block / 2)));
}

void transpose_bits(const NonZeros& x, int64_t samples) {
  for (int64_t s = 0; s < words(samples); ++s) {
    const int64_t first = s * kWordBits, count = samples - first < kWordBits ? samples - first : kWordBits;
    for (int64_t w = 0; w < x.sample_words; ++w) {
      uint64_t block[kWordBits] = {};
      for (int64_t i = 0; i < count; ++i) block[i] = x.by_sample[(first + i) * x.sample_words + w];
      transpose_bits(block);
      for (int64_t i = 0; i < kWordBits; ++i) x.by_input[(w * kWordBits + i) * x.input_words + s] = block[i];
    }
  }
}

/// Whether at least half of the batch is zero; then `op.nonzeros` says where it is not.
template <class T>
bool find_nonzeros(const Gather& op) {
  const NonZeros& x = *op.nonzeros;
  constexpr bool kCodes = std::is_same_v<T, uint8_t>;
  const bool in_place = kCodes || (std::is_same_v<T, float> && op.scale == 1.0f);
  const auto half = [&](int64_t count, int64_t rows) { return 2 * count <= rows * op.k; };
  int64_t count = 0;
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const T* in = source_row<T>(op, b);
    prefetch_row<T>(op, op.next + b);
    uint64_t* bits = x.by_sample + b * x.sample_words;
    for (int64_t w = 0; w < x.sample_words; ++w) {
      const int64_t left = op.k - w * kWordBits;
      bits[w] =
          left >= kWordBits ? nonzero_bits(in + w * kWordBits, kWordBits) : nonzero_bits(in + w * kWordBits, left);
      count += count_bits(bits[w]);
    }
    if (b - op.rows.begin == kProbe - 1 && !half(count, kProbe)) return false;
    x.rows[b] = in;
    if (in_place) continue;
    float* out = op.x + b * op.ldx;
    convert(in, out, op.k, op.scale, 0.0f);
    x.rows[b] = out;
  }
  if (!half(count, op.rows.end - op.rows.begin)) return false;
  if (op.transposed) transpose_bits(x, op.rows.end);
  if (kCodes) {
    for (int64_t i = 0; i < NonZeros::kCodes; ++i) x.values[i] = fma1(static_cast<float>(i), op.scale, 0.0f);
  }
  *x.source = kCodes ? NonZeros::Source::kCodes : NonZeros::Source::kFloats;
  return true;
}

template <class T>
void gather(const Gather& op) {
  if (op.nonzeros) {
    *op.nonzeros->source = NonZeros::Source::kNothing;
    if (find_nonzeros<T>(op)) return;
  }
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const T* in = source_row<T>(op, b);
    prefetch_row<T>(op, op.next + b);
    convert(in, op.x + b * op.ldx, op.k, op.scale, op.offset);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
