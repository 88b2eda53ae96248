// Where the rows of a batch are not zero, as bits. Found while the rows are gathered; the products of the first layer
// then visit only those elements, and read them where the data set has them.
#pragma once
#include <cstdint>

#include "kernels/kinds.h"

namespace engine {

inline constexpr int64_t kWordBits = 64;
inline constexpr int64_t words(int64_t bits) { return (bits + kWordBits - 1) / kWordBits; }

/// A view of scratch memory, for batches of up to `samples` rows of k values.
struct NonZeros {
  /// What `rows` point to; kNothing: the batch has too few zeros, and lies in the gathered floats.
  enum class Source : int64_t { kNothing, kCodes, kFloats };

  Source* source;
  float* values;        // of each uint8 code
  const void** rows;    // (samples,)
  uint64_t* by_sample;  // (samples, words(k)): bit p of row b is set where x[b][p] is not zero
  uint64_t* by_input;   // (k, words(samples)): the same bits transposed
  int64_t sample_words, input_words;

  static constexpr int64_t kCodes = 256;

  static constexpr int64_t scratch(int64_t samples, int64_t k) {
    return kLane + kCodes + 2 * (samples + samples * words(k) + words(k) * kWordBits * words(samples));
  }

  NonZeros(float* scratch, int64_t samples, int64_t k)
      : source(reinterpret_cast<Source*>(scratch)),
        values(scratch + kLane),
        rows(reinterpret_cast<const void**>(values + kCodes)),
        by_sample(reinterpret_cast<uint64_t*>(rows + samples)),
        by_input(by_sample + samples * words(k)),
        sample_words(words(k)),
        input_words(words(samples)) {}

  bool found() const { return *source != Source::kNothing; }
};

}  // namespace engine
