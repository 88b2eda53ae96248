// Records of the nonzero elements of rows: those of a training set are made once, and the products of the first layer
// then visit these elements only. Part of the interface of table.h.
//
// What holds zeros back has three names, by who makes it and when:
// - SparseRows (runtime/sparse_rows.h): the records of a dense data set, made once, before its first run.
// - NonZeros (here): the records of one batch, in scratch; the step that reads or computes its rows makes them, and in
//   training the first product adds their transpose.
// - CompressedRows (compressed_rows.h): the caller's own CSR matrix, as it is; nothing is made.
// Target::kSparse is none of these: it says that targets are class indices.
#pragma once
#include <cstdint>

#include "kernels/layout.h"

namespace engine {

/// The inputs of a block: those of one chain, so that positions within a block fit a byte. Blocks of 128, whose weights
/// fit the L1 cache, take 1.08 times as long, because loops over the elements of a block end more often.
inline constexpr int64_t kRecordBlock = kChain;
inline constexpr int64_t record_blocks(int64_t inputs) { return (inputs + kRecordBlock - 1) / kRecordBlock; }

/// The number of elements in a block is rounded up to a multiple of this by recording some zeros as well: the products
/// then unroll their loops, whose ends the branch predictor foresees more often.
inline constexpr int64_t kRecordStride = 4;

/// How a record stores a value: as a code (the byte itself, for rows of uint8), or as the float that the product uses.
enum class RecordValues : int64_t { kNone, kCodes, kFloats };
inline constexpr int64_t kCodes = 256;

/// Codes for the numbers of a data set with at most 255 different ones, such as images divided by 255, counts or
/// one-hot columns: their records are as small as those of bytes. Code 0 stands for zero. It is a hash table.
struct Codebook {
  static constexpr int kSlotBits = 13;  // 8 KiB, a fraction of the L1 cache
  static constexpr uint32_t kSlots = 1 << kSlotBits;

  uint8_t slots[kSlots] = {};  // codes; 0: free
  float numbers[kCodes] = {};  // by code
  int64_t count = 1;

  /// The hash of a number's bits: the slot where the search for it begins. Of the multipliers for integer hashes that
  /// C. Wellons found (hash-prospector), this one gives the fewest collisions among k / 255, k / 255 standardized, k /
  /// 100 and k. With the golden ratio 102 of the 255 numbers k / 255 collide, and each costs a mispredicted branch.
  static constexpr uint32_t slot(uint32_t number) { return number * 0x297a2d39u >> (32 - kSlotBits); }
};

inline constexpr int64_t record_values_offset(int64_t blocks, int64_t n) { return round_up(4 * blocks + n, 4); }
inline constexpr int64_t record_bytes(int64_t blocks, int64_t n, int64_t value_bytes) {
  return round_up(record_values_offset(blocks, n) + n * value_bytes, 4);
}

/// A record in memory: for each block the number of elements up to its end, then the positions of all elements within
/// their blocks, then their values.
struct Record {
  const uint32_t* ends;
  const uint8_t* positions;
  const void* values;

  Record(const uint8_t* at, int64_t blocks)
      : ends(reinterpret_cast<const uint32_t*>(at)),
        positions(at + 4 * blocks),
        values(at + record_values_offset(blocks, ends[blocks - 1])) {}
};

/// The records of a batch, and in training its elements by input (the transpose): a view of scratch memory.
struct NonZeros {
  struct Header {
    RecordValues values;  // kNone: the batch has too few zeros; it is read as floats
    const float* codes;   // (kCodes,) the number that each code stands for
    // The average size of a record, if records come from main memory and are to be prefetched; 0: they are in a cache.
    int64_t prefetch_bytes = 0;
  };

  Header* header;
  float* codes_of_bytes;    // (kCodes,): the number of each byte, for records of uint8
  const uint8_t** records;  // (samples,)
  /// Training: the transpose (inputs, transposed_ld) as codes or floats, which the first product fills and the
  /// last weight gradient sets to zero again. Predictions: space for records.
  void* storage;
  int64_t blocks, samples;

  static constexpr int64_t kWordBits = 64;  // the samples of one input that are searched at a time
  static constexpr int kMaxTileInputs = 2;  // the most inputs in a tile of the weight gradient; storage is a multiple

  static constexpr int64_t kHalfWord = kWordBits / 2;

  /// The leading dimension of the transpose: whole words, and an odd number of cache lines. With a power of two, all
  /// inputs of a block would be in a few sets of the cache. Codes of few samples take half a word, so that two inputs
  /// share a line.
  template <class Element>
  static constexpr int64_t transposed_ld(int64_t samples) {
    if (sizeof(Element) == 1 && samples <= kHalfWord) return kHalfWord;
    constexpr int64_t kLineElements = kLineFloats * 4 / static_cast<int64_t>(sizeof(Element));
    return (round_up(samples, kWordBits) / kLineElements | 1) * kLineElements;
  }

  /// Floats of scratch for a batch.
  static constexpr int64_t scratch(int64_t samples, int64_t inputs, bool training) {
    const int64_t storage = training ? round_up(inputs, kMaxTileInputs) * transposed_ld<float>(samples)
                                     : samples * record_bytes(record_blocks(inputs), inputs, 4) / 4 +
                                           round_up(inputs + kLineFloats, kLineFloats) + kLineFloats;
    return kLineFloats + kCodes + round_up(2 * samples, kLineFloats) + storage;
  }

  NonZeros(float* scratch, int64_t samples, int64_t inputs)
      : header(reinterpret_cast<Header*>(scratch)),
        codes_of_bytes(scratch + kLineFloats),
        records(reinterpret_cast<const uint8_t**>(codes_of_bytes + kCodes)),
        storage(codes_of_bytes + kCodes + round_up(2 * samples, kLineFloats)),
        blocks(record_blocks(inputs)),
        samples(samples) {}

  bool found() const { return header->values != RecordValues::kNone; }
};

/// Records of a batch that a team makes together, each thread those of some samples: a view of scratch memory.
struct TeamRecords {
  int32_t* dense;           // (threads, kLineFloats): whether a thread found too few zeros
  const uint8_t** records;  // (samples,)
  uint8_t* storage;         // (samples, stride)
  int64_t stride;           // bytes

  static constexpr int64_t bytes(int64_t inputs) { return record_bytes(record_blocks(inputs), inputs, 4); }

  /// Floats of scratch for a batch.
  static constexpr int64_t scratch(int64_t samples, int64_t inputs, int threads) {
    return threads * kLineFloats + round_up(2 * samples, kLineFloats) + samples * bytes(inputs) / 4 + kLineFloats;
  }

  TeamRecords(float* scratch, int64_t samples, int64_t inputs, int threads)
      : dense(reinterpret_cast<int32_t*>(scratch)),
        records(reinterpret_cast<const uint8_t**>(scratch + threads * kLineFloats)),
        storage(reinterpret_cast<uint8_t*>(scratch + threads * kLineFloats + round_up(2 * samples, kLineFloats))),
        stride(bytes(inputs)) {}
};

}  // namespace engine
