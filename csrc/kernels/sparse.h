// Products that skip the zeros of their left operand. Exact: what is left out are zero terms, and the sums end, as
// those of the dense products, with an addition of +0, so that both give the same bits for finite weights.
#pragma once
#include <type_traits>

#include "kernels/microtile.h"
#include "kernels/nonzeros.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int kPanelVectors = static_cast<int>(kPanel) / kWidth;
constexpr int64_t kBlocksPerChain = kChain / kRecordBlock;
/// Samples whose sums (8 KiB) share the L1 cache with a block of weights.
constexpr int64_t kSampleGroup = 32;
static_assert(kChain % kRecordBlock == 0 && kChain % NonZeros::kWordBits == 0);

// What a record keeps of an element, and the number it stands for.
struct ByCode {
  using Element = uint8_t;
  const float* codes;
  ENGINE_INLINE float operator()(Element code) const { return codes[code]; }
};
struct ByFloat {
  using Element = float;
  ENGINE_INLINE float operator()(Element value) const { return value; }
};

template <class F>
ENGINE_INLINE void with_elements(const NonZeros& x, F&& f) {
  if (x.header->values == RecordValues::kCodes) {
    f(ByCode{x.header->codes});
  } else {
    f(ByFloat{});
  }
}

/// chains (rows, Vectors) += the terms of one block of inputs; b points to the block's first row of the kernel. Leaves
/// the elements in `x.room` by input, if `Transposes`.
template <int Vectors, bool Transposes, class X>
__attribute__((noinline)) void add_block(float* chains, const NonZeros& x, const X value, Range rows, int64_t block,
                                         const float* b, int64_t ldb, bool first) {
  using Element = typename X::Element;
  Element* transposed = static_cast<Element*>(x.room) + block * kRecordBlock * x.transposed_ld;
  for (int64_t i = rows.begin; i < rows.end; ++i, chains += kPanel) {
    const Record record(x.records[i], x.blocks);
    const auto* elements = static_cast<const Element*>(record.values);
    const int64_t begin = block == 0 ? 0 : record.ends[block - 1], end = record.ends[block];
    if (begin == end && !first) continue;
    vf acc[Vectors];
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) acc[v] = first ? vf{} : load(chains + v * kWidth);
    for (int64_t q = begin; q < end; ++q) {
      const int64_t p = record.positions[q];
      const Element element = elements[q];
      if constexpr (Transposes) transposed[p * x.transposed_ld + i] = element;
      const vf xp = broadcast(value(element));
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
template <int Vectors, bool Transposes, class X, class Epilogue>
ENGINE_INLINE void sparse_group(const NonZeros& x, const X& value, Range rows, const float* b, int64_t ldb, int64_t j,
                                Epilogue&& epilogue) {
  alignas(64) float chains[kSampleGroup][kPanel], sums[kSampleGroup][kPanel];
  for (int64_t begin = 0; begin < x.blocks; begin += kBlocksPerChain) {
    const int64_t end = x.blocks < begin + kBlocksPerChain ? x.blocks : begin + kBlocksPerChain;
    float* const chain = begin == 0 ? sums[0] : chains[0];
    for (int64_t block = begin; block < end; ++block) {
      add_block<Vectors, Transposes>(chain, x, value, rows, block, b + block * kRecordBlock * ldb + j, ldb,
                                     block == begin);
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
ENGINE_INLINE void sparse_products(const NonZeros& x, Range rows, const float* b, int64_t ldb, Range columns,
                                   bool transposes, Epilogue&& epilogue) {
  with_elements(x, [&](const auto& value) {
    for (int64_t i = rows.begin; i < rows.end; i += kSampleGroup) {
      const Range group{i, rows.end < i + kSampleGroup ? rows.end : i + kSampleGroup};
      sweep<kPanelVectors>(columns.begin, columns.end, kWidth, [&](auto vectors, int64_t j) {
        constexpr int kVectors = decltype(vectors)::value;
        if (transposes && j == columns.begin) {
          sparse_group<kVectors, true>(x, value, group, b, ldb, j, epilogue);
        } else {
          sparse_group<kVectors, false>(x, value, group, b, ldb, j, epilogue);
        }
      });
    }
  });
}

/// Bit i is set where element i of a word's samples is not zero.
template <class Element>
ENGINE_INLINE uint64_t nonzero_bits(const Element* elements) {
  constexpr int kGroup = ENGINE_VECTOR_BYTES / sizeof(Element);
  uint64_t bits = 0;
  for (int i = 0; i < NonZeros::kWordBits; i += kGroup) bits |= static_cast<uint64_t>(vector_bits(elements + i)) << i;
  return bits;
}

/// sums (Vectors,) = row p of x^T times dz (samples, Vectors); the row is zero afterwards, if `clears`.
template <int Vectors, class X>
__attribute__((noinline)) void sparse_row(vf (&sums)[Vectors], typename X::Element* row, const X value, const float* dz,
                                          int64_t lddz, int64_t samples, bool clears) {
  constexpr int64_t kWord = NonZeros::kWordBits;
  vf acc[Vectors];
  for (int64_t begin = 0; begin < samples; begin += kChain) {
    const int64_t end = samples < begin + kChain ? samples : begin + kChain;
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) acc[v] = vf{};
    for (int64_t b = begin; b < end; b += kWord) {
      const uint64_t found = nonzero_bits(row + b);
      for (uint64_t bits = found; bits; bits &= bits - 1) {
        const int64_t i = b + __builtin_ctzll(bits);
        const vf xi = broadcast(value(row[i]));
        const float* at = dz + i * lddz;
#pragma GCC unroll 16
        for (int v = 0; v < Vectors; ++v) acc[v] = fma(xi, load(at + v * kWidth), acc[v]);
      }
      if (found && clears) std::memset(row + b, 0, kWord * sizeof *row);
    }
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) sums[v] = begin == 0 ? acc[v] : sums[v] + acc[v];
  }
}

/// x (samples, units)^T dz (samples, columns), where x has its zeros skipped; `epilogue(unit, column, sum)`. The last
/// call of a batch clears what the forward product has left.
template <class Epilogue>
ENGINE_INLINE void sparse_transposed_products(const NonZeros& x, int64_t samples, Range units, const float* dz,
                                              int64_t lddz, Range columns, bool last, Epilogue&& epilogue) {
  with_elements(x, [&](const auto& value) {
    using Element = typename std::decay_t<decltype(value)>::Element;
    sweep<kPanelVectors>(columns.begin, columns.end, kWidth, [&](auto vectors, int64_t j) {
      constexpr int kVectors = decltype(vectors)::value;
      const bool clears = last && j + kVectors * kWidth == columns.end;
      for (int64_t p = units.begin; p < units.end; ++p) {
        vf sums[kVectors];
        sparse_row(sums, static_cast<Element*>(x.room) + p * x.transposed_ld, value, dz + j, lddz, samples, clears);
#pragma GCC unroll 1
        for (int v = 0; v < kVectors; ++v) epilogue(p, j + v * kWidth, sums[v] + 0.0f);
      }
    });
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
