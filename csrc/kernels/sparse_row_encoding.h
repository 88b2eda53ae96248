// Encoding of rows of a data set as records of their elements that are not zero (nonzeros.h describes a record), which
// the products of the first layer then read instead of the rows.
#pragma once
#include <type_traits>

#include "kernels/gather.h"
#include "kernels/nonzeros.h"

namespace engine::ENGINE_ISA {
namespace {

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

// choose(in, position, scale, positions, values) stores the position within the block and the value of each element
// that is not zero, of the kGroup elements of `in`, which begin at `position`. Floats are multiplied by `scale`;
// codes are not. Returns the number of these elements. Up to kGroup positions and values may be written, whatever
// their number.

#if defined(__AVX512F__) && ENGINE_VECTOR_BYTES == 64

constexpr int kGroup = kWidth;

/// The lanes of v whose bit is set, packed to the front; the lanes after them are undefined. The masked form of the
/// instruction, with v as its source for the others: into another register it would wait for that register's old value.
ENGINE_INLINE __m512i chosen_lanes(vi v, uint32_t bits) {
  const auto lanes = reinterpret_cast<__m512i>(v);
  return _mm512_mask_compress_epi32(lanes, static_cast<__mmask16>(bits), lanes);
}

ENGINE_INLINE void store_lowest_bytes(uint8_t* out, __m512i lanes) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(lanes));
}

template <class T>
ENGINE_INLINE int64_t choose(const T* in, int64_t position, float scale, uint8_t* positions, float* values) {
  const vf value = load_as_floats(in);
  const uint32_t chosen = nonzero_lanes(value);
  store_lowest_bytes(positions, chosen_lanes(iota(static_cast<int32_t>(position)), chosen));
  _mm512_storeu_si512(values, chosen_lanes(bits(fma(value, broadcast(scale), vf{})), chosen));
  return count_bits(chosen);
}

ENGINE_INLINE int64_t choose(const uint8_t* in, int64_t position, float, uint8_t* positions, uint8_t* codes) {
  const vi code = load_as_integers(in);
  const uint32_t chosen = nonzero_lanes(code);
  const __m512i lanes = chosen_lanes(code << 8 | iota(static_cast<int32_t>(position)), chosen);
  store_lowest_bytes(positions, lanes);
  store_lowest_bytes(codes, _mm512_srli_epi32(lanes, 8));
  return count_bits(chosen);
}

#else

constexpr int kGroup = 8;

/// For each byte, the numbers of the bits that are set in it.
struct BitsOfByte {
  uint8_t at[256][8] = {};

  constexpr BitsOfByte() {
    for (int byte = 0; byte < 256; ++byte) {
      int count = 0;
      for (int bit = 0; bit < 8; ++bit) {
        if (byte >> bit & 1) at[byte][count++] = static_cast<uint8_t>(bit);
      }
    }
  }
};
constexpr BitsOfByte kBitsOfByte;

constexpr uint64_t kEachByte = 0x0101010101010101;

ENGINE_INLINE uint64_t load_bytes(const uint8_t* p) {
  uint64_t bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  return bytes;
}

template <class T>
ENGINE_INLINE uint32_t nonzero_elements(const T* in) {
  uint32_t bits = 0;
  for (int i = 0; i < kGroup; i += kWidth) bits |= nonzero_lanes(load_as_floats(in + i)) << i;
  return bits;
}

/// Eight bytes at once. Adding 0x7f to the lower seven bits of a byte carries into its own highest bit only, which
/// tells whether they are zero; the product with kDiagonal collects these bits in the highest byte.
ENGINE_INLINE uint32_t nonzero_elements(const uint8_t* in) {
  constexpr uint64_t kSeven = 0x7f * kEachByte, kDiagonal = 0x0102040810204080;
  const uint64_t bytes = load_bytes(in);
  const uint64_t nonzero = (((bytes & kSeven) + kSeven) | bytes) >> 7 & kEachByte;
  return static_cast<uint32_t>(nonzero * kDiagonal >> 56);
}

ENGINE_INLINE void store_positions(uint8_t* out, const uint8_t* places, int64_t position) {
  const uint64_t positions = load_bytes(places) + static_cast<uint64_t>(position) * kEachByte;
  std::memcpy(out, &positions, sizeof positions);
}

template <class T>
ENGINE_INLINE int64_t choose(const T* in, int64_t position, float scale, uint8_t* positions, float* values) {
  const uint32_t chosen = nonzero_elements(in);
  const uint8_t* places = kBitsOfByte.at[chosen];
  const int64_t count = count_bits(chosen);
  store_positions(positions, places, position);
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  const auto value = reinterpret_cast<__m256>(fma(load_as_floats(in), broadcast(scale), vf{}));
  const __m256i lanes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(places)));
  _mm256_storeu_ps(values, _mm256_permutevar8x32_ps(value, lanes));
#else
  for (int64_t i = 0; i < count; ++i) values[i] = fma_of_floats(static_cast<float>(in[places[i]]), scale, 0.0f);
#endif
  return count;
}

ENGINE_INLINE int64_t choose(const uint8_t* in, int64_t position, float, uint8_t* positions, uint8_t* codes) {
  const uint32_t chosen = nonzero_elements(in);
  const uint8_t* places = kBitsOfByte.at[chosen];
  const int64_t count = count_bits(chosen);
  store_positions(positions, places, position);
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in));
  const __m128i lanes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(places));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(codes), _mm_shuffle_epi8(bytes, lanes));
#else
  for (int64_t i = 0; i < count; ++i) codes[i] = in[places[i]];
#endif
  return count;
}

#endif

/// Appends the elements of a row to its record. `values` has space for kGroup more than it keeps.
template <class T, class V>
struct Recorder {
  uint8_t* positions;
  V* values;
  float scale;
  int64_t count = 0;

  /// Appends the nonzero elements among the n inputs of a block, then zeros of that block until their number is a
  /// multiple of kRecordStride, as far as there are any.
  ENGINE_INLINE void add_block(const T* block, int64_t n) {
    int64_t j = 0;
    for (; j + kGroup <= n; j += kGroup) add(block + j, j);
    if (j < n) {
      T rest[kGroup] = {};
      std::memcpy(rest, block + j, static_cast<size_t>(n - j) * sizeof(T));
      add(rest, j);
    }
    for (int64_t p = 0; count % kRecordStride != 0 && p < n; ++p) {
      if (block[p] != T{0}) continue;
      positions[count] = static_cast<uint8_t>(p);
      values[count++] = V{0};
    }
  }

 private:
  ENGINE_INLINE void add(const T* in, int64_t position) {
    count += choose(in, position, scale, positions + count, values + count);
  }
};

/// Writes the ends of the blocks and the positions of one record to `out`, and the values to `values` (k +
/// kLineFloats,). Returns the number of elements.
template <class T, class V>
ENGINE_INLINE int64_t record_row(const T* in, int64_t k, float scale, uint8_t* out, V* values) {
  const int64_t blocks = record_blocks(k);
  auto* ends = reinterpret_cast<uint32_t*>(out);
  Recorder<T, V> recorder{out + 4 * blocks, values, scale};
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = block * kRecordBlock, n = k - first < kRecordBlock ? k - first : kRecordBlock;
    recorder.add_block(in + first, n);
    ends[block] = static_cast<uint32_t>(recorder.count);
  }
  return recorder.count;
}

/// Gives a new number a code, and returns it; -1 where all codes are in use.
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

/// Writes the codes of n values. Returns false where all codes are in use.
ENGINE_INLINE bool encode(Codebook& book, const float* values, int64_t n, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    const int code = code_of(book, values[i]);
    if (code < 0) return false;
    codes[i] = static_cast<uint8_t>(code);
  }
  return true;
}

/// Writes the records of some rows, one after the other, and returns their bytes; or kTooManyNonZeros or
/// kTooManyValues.
template <class T>
int64_t record_rows(const RecordRowsArgs& op) {
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
