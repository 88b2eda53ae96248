// Rows of the data set on their way into a batch: read where they lie, converted, or told by what is not zero.
#pragma once
#include <type_traits>

#include "kernels/nonzeros.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

template <class T>
ENGINE_INLINE const T* source_row(const void* data, int64_t stride, const int32_t* order, int64_t sample) {
  return static_cast<const T*>(data) + (order ? order[sample] : sample) * stride;
}

/// Asks for all lines of a row, which may begin anywhere in the first of them.
template <int Locality, class T>
ENGINE_INLINE void prefetch_row(const T* row, int64_t k) {
  constexpr int64_t kPerLine = 64 / sizeof(T);
  for (int64_t j = 0; j < k; j += kPerLine) __builtin_prefetch(row + j, 0, Locality);
  __builtin_prefetch(row + k - 1, 0, Locality);
}

/// float32(value) * scale + offset. In vectors: GCC's -O2 makes none of a loop of unknown length.
template <class T>
ENGINE_INLINE void convert(const T* __restrict in, float* __restrict out, int64_t n, float scale, float offset) {
  const bool as_it_is = scale == 1.0f && offset == 0.0f;
  const auto scaled = [&](vf value) { return as_it_is ? value : fma(value, broadcast(scale), broadcast(offset)); };
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) store(out + j, scaled(load_as_floats(in + j)));
  if (j == n) return;
  if constexpr (std::is_same_v<T, float>) {
    store_part(out + j, scaled(load_part(in + j, n - j)), n - j);
  } else {
    for (; j < n; ++j) out[j] = as_it_is ? static_cast<float>(in[j]) : fma1(static_cast<float>(in[j]), scale, offset);
  }
}

template <class T>
void gather(const Gather& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const T* in = source_row<T>(op.data, op.stride, op.order, op.first + b);
    // Shuffled rows come from main memory; asked for one batch ahead, they are in the L2 cache when needed.
    if (const int64_t ahead = op.next + b; op.order && ahead < op.samples) {
      prefetch_row<2>(source_row<T>(op.data, op.stride, op.order, ahead), op.k);
    }
    convert(in, op.x + b * op.ldx, op.k, op.scale, op.offset);
  }
}

void gather_compressed(const GatherCompressed& op) {
  const CompressedBatch& in = *op.batch;
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    float* x = op.x + b * op.ldx;
    for (int64_t j = 0; j < op.k; j += kWidth) store(x + j, broadcast(op.offset));
    const int64_t row = in.row(b);
    for (int64_t e = in.rows.begins[row]; e < in.rows.begins[row + 1]; ++e) {
      convert(in.rows.values + e, x + in.rows.columns[e], 1, in.scale, op.offset);
    }
  }
}

/// Stores the lanes of v whose bit is set, one after the other; whole vectors may be written.
template <class T>
ENGINE_INLINE void store_chosen(T* out, vi v, uint32_t bits) {
#if defined(__AVX512F__) && ENGINE_VECTOR_BYTES == 64
  const __m512i chosen = _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), reinterpret_cast<__m512i>(v));
  if constexpr (sizeof(T) == 1) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(chosen));
  } else {
    _mm512_storeu_si512(out, chosen);
  }
#else
  int32_t lane[kWidth];
  std::memcpy(lane, &v, sizeof lane);
  for (; bits; bits &= bits - 1) *out++ = static_cast<T>(lane[__builtin_ctz(bits)]);
#endif
}

/// The same of the lanes' lowest bytes, and of the bytes above: two arrays in one go.
ENGINE_INLINE void store_chosen_bytes(uint8_t* lowest, uint8_t* above, vi v, uint32_t bits) {
#if defined(__AVX512F__) && ENGINE_VECTOR_BYTES == 64
  const __m512i chosen = _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), reinterpret_cast<__m512i>(v));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lowest), _mm512_cvtepi32_epi8(chosen));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(above), _mm512_cvtepi32_epi8(_mm512_srli_epi32(chosen, 8)));
#else
  store_chosen(lowest, v, bits);
  store_chosen(above, v >> 8, bits);
#endif
}

/// Bits that are set. Not every instruction set has a population count, and the kernels call no library.
ENGINE_INLINE int64_t count_bits(uint32_t word) {
#ifdef __POPCNT__
  return __builtin_popcount(word);
#else
  word -= (word >> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >> 2) & 0x33333333);
  word = (word + (word >> 4)) & 0x0f0f0f0f;
  return static_cast<int64_t>((word * 0x01010101) >> 24);
#endif
}

/// Elements kWidth apart at the most: `values` has room for so many more.
template <class T, class V>
struct Recorder {
  uint8_t* positions;
  V* values;
  float scale;
  int64_t count = 0;

  /// kWidth elements, or fewer at the end of a row, at `position` of a block
  ENGINE_INLINE void add(const T* in, int64_t n, int64_t position) {
    T rest[kWidth] = {};
    if (n < kWidth) in = static_cast<const T*>(std::memcpy(rest, in, static_cast<size_t>(n) * sizeof(T)));
    const vi places = iota(static_cast<int32_t>(position));
    uint32_t chosen;
    if constexpr (std::is_same_v<V, float>) {
      const vf value = load_as_floats(in);
      chosen = lane_bits(value != 0.0f);
      store_chosen(positions + count, places, chosen);
      store_chosen(reinterpret_cast<int32_t*>(values) + count, bits(fma(value, broadcast(scale), vf{})), chosen);
    } else {
      const vi code = load_as_integers(in);
      chosen = nonzero_lanes(code);
      store_chosen_bytes(positions + count, values + count, code << 8 | places, chosen);
    }
    count += count_bits(chosen);
  }

  /// Zeros of the block of n inputs, as many as it has up to the next stride.
  ENGINE_INLINE void fill_up(const T* block, int64_t n) {
    for (int64_t p = 0; count % kRecordStride != 0 && p < n; ++p) {
      if (block[p] != T{0}) continue;
      positions[count] = static_cast<uint8_t>(p);
      values[count++] = V{0};
    }
  }
};

/// Writes positions and ends of one record; returns its elements, whose values are in `values` (k + kLane,).
template <class T, class V>
ENGINE_INLINE int64_t record_row(const T* in, int64_t k, float scale, uint8_t* out, V* values) {
  const int64_t blocks = record_blocks(k);
  auto* ends = reinterpret_cast<uint32_t*>(out);
  Recorder<T, V> recorder{out + 4 * blocks, values, scale};
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = block * kRecordBlock, n = k - first < kRecordBlock ? k - first : kRecordBlock;
    for (int64_t j = 0; j < n; j += kWidth) recorder.add(in + first + j, n - j, j);
    recorder.fill_up(in + first, n);
    ends[block] = static_cast<uint32_t>(recorder.count);
  }
  return recorder.count;
}

/// The code of a new number; -1 where the book has none left.
__attribute__((noinline)) int add_number(Codebook& book, float number, uint32_t slot) {
  if (book.count == kCodes) return -1;
  const auto code = static_cast<int>(book.count++);
  book.numbers[code] = number;
  book.slots[slot] = static_cast<uint8_t>(code);
  return code;
}

ENGINE_INLINE uint32_t word_of(float number) {
  uint32_t word;
  std::memcpy(&word, &number, sizeof word);
  return word;
}

ENGINE_INLINE int code_of(Codebook& book, float number) {
  const uint32_t word = word_of(number);
  for (uint32_t slot = Codebook::slot(word);; slot = (slot + 1) % Codebook::kSlots) {
    const uint8_t code = book.slots[slot];
    if (word_of(book.numbers[code]) == word) return code;
    if (code == 0) return add_number(book, number, slot);
  }
}

/// The codes of n values; false where the book has none left.
ENGINE_INLINE bool encode(Codebook& book, const float* values, int64_t n, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    const int code = code_of(book, values[i]);
    if (code < 0) return false;
    codes[i] = static_cast<uint8_t>(code);
  }
  return true;
}

template <class T>
int64_t record_rows(const RecordRows& op) {
  using V = std::conditional_t<std::is_same_v<T, uint8_t>, uint8_t, float>;
  constexpr int64_t kPrefetch = 2;  // rows ahead
  const int64_t blocks = record_blocks(op.k);
  const int64_t value_bytes = op.book ? 1 : sizeof(V);
  auto* values = static_cast<V*>(op.scratch);
  uint8_t* out = op.out;
  int64_t count = 0;
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    const T* in = source_row<T>(op.data, op.stride, op.order, op.first + b);
    if (op.order && b + kPrefetch < op.rows.end) {
      prefetch_row<3>(source_row<T>(op.data, op.stride, op.order, op.first + b + kPrefetch), op.k);
    }
    const int64_t n = record_row(in, op.k, op.scale, out, values);
    uint8_t* kept = out + record_values_offset(blocks, n);
    if constexpr (std::is_same_v<V, float>) {
      if (op.book && !encode(*op.book, values, n, kept)) return kTooManyValues;
    }
    if (!op.book) std::memcpy(kept, values, static_cast<size_t>(n) * sizeof(V));
    op.records[b] = out;
    out += record_bytes(blocks, n, value_bytes);
    count += n;
    const int64_t done = b + 1 - op.rows.begin;
    if ((done == kProbe || b + 1 == op.rows.end) && 2 * count > done * op.k) return kTooManyNonZeros;
  }
  return out - op.out;
}

}  // namespace
}  // namespace engine::ENGINE_ISA
