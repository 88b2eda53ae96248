// Where rows are not zero: a record for each row, of its elements that are not. Records of a training set are made
// once; the products of the first layer then visit those elements alone.
#pragma once
#include <cstdint>

#include "kernels/layout.h"

namespace engine {

/// Inputs of a block: one chain of the products, and positions that fit a byte. Blocks of 128, whose weights fit the L1
/// cache, take 1.08 times as long: what counts is how rarely a run of elements ends.
inline constexpr int64_t kRecordBlock = 256;
inline constexpr int64_t record_blocks(int64_t inputs) { return (inputs + kRecordBlock - 1) / kRecordBlock; }

/// Elements of a block are filled up to a multiple of this with zeros of the row: the products then go in strides, and
/// their loops end where the branch predictor expects it more often.
inline constexpr int64_t kRecordStride = 4;

/// What a record keeps of an element: a code, as is the byte of a row of uint8, or the number that the product sees.
enum class RecordValues : int64_t { kNone, kCodes, kFloats };
inline constexpr int64_t kCodes = 256;

/// Codes for the numbers of a data set that has few, such as images divided by 255, counts or indicators: their records
/// are then as small as those of bytes. Code 0 stands for zero.
struct Codebook {
  static constexpr int kSlotBits = 13;  // 8 KiB leave room in the L1 cache
  static constexpr uint32_t kSlots = 1 << kSlotBits;

  uint8_t slots[kSlots] = {};  // codes; 0: free
  float numbers[kCodes] = {};  // by code
  int64_t count = 1;

  /// Where the search for a number begins, from its bits. Of the multipliers that C. Wellons found for integers
  /// (hash-prospector), the one that puts the fewest of k / 255, k / 255 standardized, k / 100 and k into one slot; the
  /// golden ratio puts 102 of the 255 numbers k / 255 where another one is, and a branch predictor cannot tell which.
  static constexpr uint32_t slot(uint32_t number) { return number * 0x297a2d39u >> (32 - kSlotBits); }
};

inline constexpr int64_t record_values_offset(int64_t blocks, int64_t n) { return round_up(4 * blocks + n, 4); }
inline constexpr int64_t record_bytes(int64_t blocks, int64_t n, int64_t value_bytes) {
  return round_up(record_values_offset(blocks, n) + n * value_bytes, 4);
}

/// In memory: per block the number of elements up to its end, the elements' positions within their blocks, their
/// values.
struct Record {
  const uint32_t* ends;
  const uint8_t* positions;
  const void* values;

  Record(const uint8_t* at, int64_t blocks)
      : ends(reinterpret_cast<const uint32_t*>(at)),
        positions(at + 4 * blocks),
        values(at + record_values_offset(blocks, ends[blocks - 1])) {}
};

/// The records of a batch, and its elements by input: a view of scratch memory.
struct NonZeros {
  struct Header {
    RecordValues values;  // kNone: the batch has too few zeros, and lies in the gathered floats
    const float* codes;   // (kCodes,) the number that each code stands for
    // Of a record on average where they lie anywhere in memory; 0: they are in a cache.
    int64_t far_bytes = 0;
  };

  Header* header;
  float* own_codes;         // (kCodes,)
  const uint8_t** records;  // (samples,)
  /// Training: (inputs, transposed_ld) codes or floats, zero but between the products of a batch. Else room for
  /// records.
  void* room;
  int64_t blocks, samples;

  static constexpr int64_t kWordBits = 64;  // samples whose elements of one input are looked through together
  static constexpr int kMostTogether = 2;   // inputs whose gradients are summed together; there is room for a last pair

  static constexpr int64_t kHalfWord = kWordBits / 2;

  /// Whole words in an odd number of cache lines: a power of two would keep the inputs of a block in a few cache sets.
  /// Codes of few samples take half a word, so that two inputs share a line.
  template <class Element>
  static constexpr int64_t transposed_ld(int64_t samples) {
    if (sizeof(Element) == 1 && samples <= kHalfWord) return kHalfWord;
    constexpr int64_t kLineElements = kLane * 4 / static_cast<int64_t>(sizeof(Element));
    return (round_up(samples, kWordBits) / kLineElements | 1) * kLineElements;
  }

  /// Floats of scratch for a batch.
  static constexpr int64_t scratch(int64_t samples, int64_t inputs, bool training) {
    const int64_t room = training ? round_up(inputs, kMostTogether) * transposed_ld<float>(samples)
                                  : samples * record_bytes(record_blocks(inputs), inputs, 4) / 4 +
                                        round_up(inputs + kLane, kLane) + kLane;
    return kLane + kCodes + round_up(2 * samples, kLane) + room;
  }

  NonZeros(float* scratch, int64_t samples, int64_t inputs)
      : header(reinterpret_cast<Header*>(scratch)),
        own_codes(scratch + kLane),
        records(reinterpret_cast<const uint8_t**>(own_codes + kCodes)),
        room(own_codes + kCodes + round_up(2 * samples, kLane)),
        blocks(record_blocks(inputs)),
        samples(samples) {}

  bool found() const { return header->values != RecordValues::kNone; }
};

/// Records of a batch that the threads of a team make, each of its own samples, for all: a view of scratch memory.
struct TeamRecords {
  int32_t* dense;           // (threads, kLane): whether one had too few zeros
  const uint8_t** records;  // (samples,)
  uint8_t* room;            // (samples, stride)
  int64_t stride;           // bytes

  static constexpr int64_t bytes(int64_t inputs) { return record_bytes(record_blocks(inputs), inputs, 4); }

  /// Floats of scratch for a batch.
  static constexpr int64_t scratch(int64_t samples, int64_t inputs, int threads) {
    return threads * kLane + round_up(2 * samples, kLane) + samples * bytes(inputs) / 4 + kLane;
  }

  TeamRecords(float* scratch, int64_t samples, int64_t inputs, int threads)
      : dense(reinterpret_cast<int32_t*>(scratch)),
        records(reinterpret_cast<const uint8_t**>(scratch + threads * kLane)),
        room(reinterpret_cast<uint8_t*>(scratch + threads * kLane + round_up(2 * samples, kLane))),
        stride(bytes(inputs)) {}
};

}  // namespace engine
