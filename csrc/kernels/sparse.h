// Products that skip the zeros of their left operand. Exact: what is left out are zero terms, and the sums end, as
// those of the dense products, with an addition of +0, so that both give the same bits for finite weights.
#pragma once
#include "kernels/microtile.h"
#include "kernels/nonzeros.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int kPanelVectors = static_cast<int>(kPanel) / kWidth;
constexpr int64_t kWordsPerChain = kChain / kWordBits;
/// Samples whose sums wait in the L1 cache while 64 rows of a panel (16 KiB) are.
constexpr int64_t kSampleGroup = 32;

// How an element of the batch is read: values of uint8 codes come from a table, floats lie there.
struct ByCode {
  const void* const* rows;
  const float* values;
  ENGINE_INLINE float operator()(int64_t b, int64_t p) const { return values[static_cast<const uint8_t*>(rows[b])[p]]; }
};
struct ByFloat {
  const void* const* rows;
  ENGINE_INLINE float operator()(int64_t b, int64_t p) const { return static_cast<const float*>(rows[b])[p]; }
};

template <class F>
ENGINE_INLINE void with_elements(const NonZeros& x, F&& f) {
  if (*x.source == NonZeros::Source::kCodes) {
    f(ByCode{x.rows, x.values});
  } else {
    f(ByFloat{x.rows});
  }
}

/// chains (rows, Vectors) += the terms of word `w` of the samples' bits; b points to row 64 w of the kernel.
template <int Vectors, class X>
__attribute__((noinline)) void add_word(float* chains, const NonZeros& nonzeros, const X x, Range rows, int64_t w,
                                        const float* b, int64_t ldb, bool first) {
  for (int64_t i = rows.begin; i < rows.end; ++i, chains += kPanel) {
    uint64_t bits = nonzeros.by_sample[i * nonzeros.sample_words + w];
    if (!bits && !first) continue;
    vf acc[Vectors];
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) acc[v] = first ? vf{} : load(chains + v * kWidth);
    for (; bits; bits &= bits - 1) {
      const int64_t p = __builtin_ctzll(bits);
      const vf xp = broadcast(x(i, w * kWordBits + p));
      const float* bp = b + p * ldb;
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) acc[v] = fma(xp, load(bp + v * kWidth), acc[v]);
    }
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) store(chains + v * kWidth, acc[v]);
  }
}

/// The products of a group of samples with the columns [j, j + Vectors * kWidth) of a panel, each handed to
/// `epilogue(row, column, sum)` a vector at a time.
template <int Vectors, class X, class Epilogue>
ENGINE_INLINE void sparse_group(const NonZeros& nonzeros, const X& x, Range rows, const float* b, int64_t ldb,
                                int64_t j, Epilogue&& epilogue) {
  alignas(64) float chains[kSampleGroup][kPanel], sums[kSampleGroup][kPanel];
  for (int64_t begin = 0; begin < nonzeros.sample_words; begin += kWordsPerChain) {
    const int64_t end = nonzeros.sample_words < begin + kWordsPerChain ? nonzeros.sample_words : begin + kWordsPerChain;
    float* const chain = begin == 0 ? sums[0] : chains[0];
    for (int64_t w = begin; w < end; ++w) {
      add_word<Vectors>(chain, nonzeros, x, rows, w, b + w * kWordBits * ldb + j, ldb, w == begin);
    }
    if (begin == 0) continue;
    for (int64_t i = 0; i < rows.end - rows.begin; ++i) {
      for (int v = 0; v < Vectors; ++v) {
        float* sum = sums[i] + v * kWidth;
        store(sum, load(sum) + load(chains[i] + v * kWidth));
      }
    }
  }
  for (int64_t i = 0; i < rows.end - rows.begin; ++i) {
    for (int v = 0; v < Vectors; ++v) {
      epilogue(rows.begin + i, j + v * kWidth, load(sums[i] + v * kWidth) + 0.0f);
    }
  }
}

/// x (rows, k) b (k, columns), where x has its zeros skipped
template <class Epilogue>
ENGINE_INLINE void sparse_products(const NonZeros& nonzeros, Range rows, const float* b, int64_t ldb, Range columns,
                                   Epilogue&& epilogue) {
  with_elements(nonzeros, [&](const auto& x) {
    for (int64_t i = rows.begin; i < rows.end; i += kSampleGroup) {
      const Range group{i, rows.end < i + kSampleGroup ? rows.end : i + kSampleGroup};
      sweep<kPanelVectors>(columns.begin, columns.end, kWidth, [&](auto vectors, int64_t j) {
        sparse_group<decltype(vectors)::value>(nonzeros, x, group, b, ldb, j, epilogue);
      });
    }
  });
}

/// sums (Vectors,) = row p of x^T times dz (samples, Vectors)
template <int Vectors, class X>
__attribute__((noinline)) void sparse_row(vf (&sums)[Vectors], const NonZeros& nonzeros, const X x, int64_t p,
                                          const float* dz, int64_t lddz, int64_t samples) {
  const uint64_t* word = nonzeros.by_input + p * nonzeros.input_words;
  vf acc[Vectors];
  for (int64_t begin = 0; begin < samples; begin += kChain) {
    const int64_t end = samples < begin + kChain ? samples : begin + kChain;
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) acc[v] = vf{};
    for (int64_t b = begin; b < end; b += kWordBits) {
      for (uint64_t bits = *word++; bits; bits &= bits - 1) {
        const int64_t i = b + __builtin_ctzll(bits);
        const vf xi = broadcast(x(i, p));
        const float* row = dz + i * lddz;
#pragma GCC unroll 16
        for (int v = 0; v < Vectors; ++v) acc[v] = fma(xi, load(row + v * kWidth), acc[v]);
      }
    }
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) sums[v] = begin == 0 ? acc[v] : sums[v] + acc[v];
  }
}

/// x (samples, units)^T dz (samples, columns), where x has its zeros skipped; `epilogue(unit, column, sum)`
template <class Epilogue>
ENGINE_INLINE void sparse_transposed_products(const NonZeros& nonzeros, int64_t samples, Range units, const float* dz,
                                              int64_t lddz, Range columns, Epilogue&& epilogue) {
  with_elements(nonzeros, [&](const auto& x) {
    sweep<kPanelVectors>(columns.begin, columns.end, kWidth, [&](auto vectors, int64_t j) {
      constexpr int kVectors = decltype(vectors)::value;
      for (int64_t p = units.begin; p < units.end; ++p) {
        vf sums[kVectors];
        sparse_row(sums, nonzeros, x, p, dz + j, lddz, samples);
#pragma GCC unroll 1
        for (int v = 0; v < kVectors; ++v) epilogue(p, j + v * kWidth, sums[v] + 0.0f);
      }
    });
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
