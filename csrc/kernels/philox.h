// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random words as a pure
// function of a key and a counter, so that no draw depends on threads or order.
#pragma once
#include <cstdint>

namespace engine {
namespace philox {

struct Key {
  uint32_t word[2];
};

static inline __attribute__((always_inline)) Key make_key(uint64_t seed) {
  return {{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}};
}

/// Replaces `Lanes` counters, stored word by word, by their random words. Written so that compilers vectorise
/// over the lanes.
template <int Lanes>
static inline __attribute__((always_inline)) void generate(uint32_t (&c)[4][Lanes], Key key) {
  constexpr uint32_t kMultiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
  constexpr uint32_t kWeyl[2] = {0x9E3779B9u, 0xBB67AE85u};
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < Lanes; ++i) {
      const uint64_t p0 = static_cast<uint64_t>(kMultiplier[0]) * c[0][i];
      const uint64_t p1 = static_cast<uint64_t>(kMultiplier[1]) * c[2][i];
      c[0][i] = static_cast<uint32_t>(p1 >> 32) ^ c[1][i] ^ key.word[0];
      c[2][i] = static_cast<uint32_t>(p0 >> 32) ^ c[3][i] ^ key.word[1];
      c[1][i] = static_cast<uint32_t>(p1);
      c[3][i] = static_cast<uint32_t>(p0);
    }
    key.word[0] += kWeyl[0];
    key.word[1] += kWeyl[1];
  }
}

}  // namespace philox
}  // namespace engine
