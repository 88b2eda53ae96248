// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random words as a pure
// function of a key and a counter, so that no draw depends on threads or order.
#pragma once
#include "formulas/number.h"

namespace engine {
namespace philox {

struct Key {
  uint32_t word[2];
};

static ENGINE_INLINE Key make_key(uint64_t seed) {
  return {{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}};
}

/// Replaces the four words of each counter by random words, in ten rounds. A Word is a uint64_t, or a vector of them,
/// which computes a counter per lane. The words are the low halves; the high halves of the results are undefined.
/// `product(a, m)` multiplies the low halves of a by m. Unrolled, as otherwise each round would wait for its keys, and
/// each counter for the one before.
template <int Counters, class Word, class Product>
static ENGINE_INLINE void generate(Word (&counters)[Counters][4], Key key, Product&& product) {
  constexpr uint32_t kMultiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
  constexpr uint32_t kWeyl[2] = {0x9E3779B9u, 0xBB67AE85u};
  ENGINE_UNROLL(10)
  for (int round = 0; round < 10; ++round) {
    ENGINE_UNROLL(2)
    for (int i = 0; i < Counters; ++i) {
      Word(&c)[4] = counters[i];
      const Word p0 = product(c[0], kMultiplier[0]), p1 = product(c[2], kMultiplier[1]);
      c[0] = (p1 >> 32) ^ c[1] ^ uint64_t { key.word[0] };
      c[2] = (p0 >> 32) ^ c[3] ^ uint64_t { key.word[1] };
      c[1] = p1;
      c[3] = p0;
    }
    key.word[0] += kWeyl[0];
    key.word[1] += kWeyl[1];
  }
}

template <class Word, class Product>
static ENGINE_INLINE void generate(Word (&counter)[4], Key key, Product&& product) {
  generate(reinterpret_cast<Word(&)[1][4]>(counter), key, product);
}

}  // namespace philox
}  // namespace engine
