// A random word for every element of a matrix, a vector of them at a time (formulas/random.h says which).
#pragma once
#include "formulas/random.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// words (4, kWidth) of the counters from (first, row, step) on
ENGINE_INLINE void random_words(vu (&words)[4], int64_t first, uint32_t row, uint64_t step, philox::Key key) {
  // Each 64-bit lane covers two counters. halves[0] computes the lower one and halves[1] the upper one.
  vul halves[2][4];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const vu counter = reinterpret_cast<vu>(iota(static_cast<int32_t>(first)));
    vul(&c)[4] = halves[half];
    c[0] = reinterpret_cast<vul>(counter) >> (32 * half);
    c[1] = uint64_t{row} - vul{};
    c[2] = (step & 0xffffffffu) - vul{};
    c[3] = (step >> 32) - vul{};
  }
  philox::generate(halves, key, multiply_low);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    words[i] = reinterpret_cast<vu>((halves[0][i] & 0xffffffffu) | (halves[1][i] << 32));
  }
}

/// The threshold below which a share `rate` of all words lies, in all lanes.
ENGINE_INLINE vu words_below(double rate) { return threshold_of(rate) - vu{}; }

/// The elements that get words, and what the words are a function of.
struct Draw {
  Range rows, columns;
  uint64_t seed, step;
  int64_t first;  // number of the first row in the counters
  bool shared;    // whether all rows get the words of row 0
};

/// Calls f(row, column, words) for every vector; formulas/random.h says which word a column takes.
template <class F>
ENGINE_INLINE void for_random(const Draw& draw, F&& f) {
  constexpr int64_t kGroup = kWordsPerGroup;
  static_assert(kCountersPerGroup == kLineFloats);
  const philox::Key key = philox::make_key(draw.seed);
  for (int64_t b = draw.rows.begin; b < draw.rows.end; ++b) {
    const auto row = static_cast<uint32_t>(draw.shared ? 0 : draw.first + b);
    for (int64_t group = draw.columns.begin / kGroup * kGroup; group < draw.columns.end; group += kGroup) {
      for (int64_t lane = 0; lane < kLineFloats; lane += kWidth) {
        vu words[4];
        random_words(words, group / 4 + lane, row, draw.step, key);
#pragma GCC unroll 4
        for (int64_t line = 0; line < 4; ++line) {
          const int64_t column = group + line * kLineFloats + lane;
          if (column >= draw.columns.begin && column < draw.columns.end) f(b, column, words[line]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
