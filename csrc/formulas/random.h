// Random numbers of the elements of a matrix. Each is a pure function of seed, step, row and column, so that it depends
// on no thread, no order and no device.
#pragma once
#include "formulas/elementary.h"
#include "formulas/philox.h"

namespace engine::formulas {
namespace {

/// Columns of a row take their words in groups of 64: column u takes word (u / 16) % 4 of counter u / 64 * 16 + u % 16.
/// So 16 counters, side by side in vectors, give four cache lines of words in the order in which they are stored.
constexpr int64_t kCountersPerGroup = 16;
constexpr int64_t kWordsPerCounter = 4;
constexpr int64_t kWordsPerGroup = kCountersPerGroup * kWordsPerCounter;

/// The word of one element. The counter holds the number given above, the row and both halves of the step; the key is
/// the seed.
ENGINE_INLINE uint32_t random_word(uint64_t seed, uint64_t step, uint32_t row, int64_t column) {
  const int64_t number = column / kWordsPerGroup * kCountersPerGroup + column % kCountersPerGroup;
  uint64_t counter[kWordsPerCounter] = {static_cast<uint32_t>(number), row, step & 0xffffffffu, step >> 32};
  philox::generate(counter, philox::make_key(seed), [](uint64_t a, uint32_t m) { return (a & 0xffffffffu) * m; });
  return static_cast<uint32_t>(counter[column / kCountersPerGroup % kWordsPerCounter]);
}

/// The threshold below which a share `rate` < 1 of all words lies; any word may at rate 1.
ENGINE_INLINE uint32_t threshold_of(double rate) { return static_cast<uint32_t>(static_cast<uint64_t>(rate * 0x1p32)); }

constexpr float kRootOfTwo = 1.41421356f;

/// Normally distributed numbers by the inverse of the distribution function: mean + sqrt(2) deviation erf^-1(u), where
/// u is one of the odd multiples of 2^-23 in (-1, 1), which are exact.
template <class V>
ENGINE_INLINE V normal_number(WordsOf<V> words, V root_of_two_times_deviation, V mean) {
  const V k = Number<V>::from_word(words >> 9);
  const V u = fma(k, broadcast<V>(0x1p-22f), broadcast<V>(0x1p-23f - 1.0f));
  return fma(inverse_erf(u), root_of_two_times_deviation, mean);
}

/// Uniform in [low, low + width): one of 2^24 numbers. `most` is the largest float below the end.
template <class V>
ENGINE_INLINE V uniform_number(WordsOf<V> words, V low, V width, V most) {
  const V x = fma(Number<V>::from_word(words >> 8) * 0x1p-24f, width, low);
  return x > most ? most : x;
}

/// Normally distributed numbers that are at most two standard deviations from the mean: the inverse of the distribution
/// function between its values there.
template <class V>
ENGINE_INLINE V truncated_normal_number(WordsOf<V> words, V deviation, V mean) {
  constexpr float kWithinTwo = 0.954499722f;  // the share of normal numbers that are so near
  const V k = Number<V>::from_word(words >> 9);
  const V u = fma(k, broadcast<V>(0x1p-22f), broadcast<V>(0x1p-23f - 1.0f)) * kWithinTwo;
  return fma(clamp(inverse_erf(u) * kRootOfTwo, -2.0f, 2.0f), deviation, mean);
}

}  // namespace
}  // namespace engine::formulas
