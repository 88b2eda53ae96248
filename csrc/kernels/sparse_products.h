// Products of a dense layer that skip the zeros of x: y = x kernel, and the weight gradient x^T dz. x is given by
// records of its nonzero elements (nonzeros.h). For finite weights the bits are those of the dense products: only zero
// terms are left out, and all sums end with an addition of +0 (microtile.h).
#pragma once
#include <type_traits>

#include "kernels/microtile.h"
#include "kernels/nonzeros.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int kPanelVectors = static_cast<int>(kPanel) / kWidth;
/// Independent multiply-adds that keep two FMA inputs of latency 4 busy: products with fewer vectors of columns compute
/// two samples at a time. An emulated fma gains nothing from that.
constexpr int kIndependentSums = kUnrolled > 1 ? 8 : 0;
/// The inputs in a tile of the weight gradient, which visits the samples where any of them is not zero: adjacent pixels
/// are mostly zero in the same images. There are registers for two; with four, half of the terms would be zero.
constexpr int kTileInputs = ENGINE_VECTOR_BYTES == 64 ? NonZeros::kMaxTileInputs : 1;
/// The inputs of a block: the samples where they are not zero are searched before their gradients are summed. The loops
/// over samples then need not wait for the search, and overlap with the divisions of the optimizer's step before.
constexpr int64_t kBlockInputs = 64;
/// The samples of a group, whose sums (8 KiB) stay in the L1 cache while the blocks of inputs pass by.
constexpr int64_t kSampleGroup = 32;
/// How many samples ahead records are prefetched: about 3 us.
constexpr int64_t kPrefetchDistance = 8;
static_assert(kChain % NonZeros::kWordBits == 0);

// The type of a recorded value, and the number for which it stands.
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

/// The elements of one sample in one block of inputs.
template <class Element>
struct Elements {
  const uint8_t* positions;
  const Element* values;
  int64_t count;

  Elements() = default;
  Elements(const uint8_t* at, int64_t blocks, int64_t block) {
    const Record record(at, blocks);
    const int64_t begin = block == 0 ? 0 : record.ends[block - 1];
    positions = record.positions + begin;
    values = static_cast<const Element*>(record.values) + begin;
    count = record.ends[block] - begin;
  }
};

/// sums (Samples, Vectors) of samples i, i + 1 ... += one chain, the elements of a block of inputs times their rows of
/// the kernel; b is the block's first row. If `Transposes`, also stores the elements by input in `x.storage`.
template <int Samples, int Vectors, bool Transposes, class X>
ENGINE_INLINE void add_samples(float* sums, const NonZeros& x, const X& value, int64_t i, int64_t block, const float* b,
                               int64_t ldb) {
  using Element = typename X::Element;
  const int64_t ld = NonZeros::transposed_ld<Element>(x.samples);
  Element* transposed = static_cast<Element*>(x.storage) + block * kRecordBlock * ld + i;
  vf acc[Samples][Vectors];
  Elements<Element> elements[Samples];
  int64_t common = kRecordBlock;  // the fewest elements of a sample, in whole strides
#pragma GCC unroll 4
  for (int s = 0; s < Samples; ++s) {
    elements[s] = Elements<Element>(x.records[i + s], x.blocks, block);
    common = elements[s].count < common ? elements[s].count : common;
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) acc[s][v] = vf{};
  }
  const auto advance = [&](int s, int64_t q) __attribute__((always_inline)) {
    const int64_t p = elements[s].positions[q];
    const Element element = elements[s].values[q];
    if constexpr (Transposes) transposed[p * ld + s] = element;
    const vf xp = broadcast(value(element));
    const float* bp = b + p * ldb;
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) acc[s][v] = fma(xp, load(bp + v * kWidth), acc[s][v]);
  };
  common -= common % kRecordStride;
  for (int64_t q = 0; q < common; q += kRecordStride) {
#pragma GCC unroll kUnrolled
    for (int64_t u = 0; u < kRecordStride; ++u) {
#pragma GCC unroll 4
      for (int s = 0; s < Samples; ++s) advance(s, q + u);
    }
  }
#pragma GCC unroll 4
  for (int s = 0; s < Samples; ++s) {
    int64_t q = common;
    for (; q + kRecordStride <= elements[s].count; q += kRecordStride) {
#pragma GCC unroll kUnrolled
      for (int64_t u = 0; u < kRecordStride; ++u) advance(s, q + u);
    }
    for (; q < elements[s].count; ++q) advance(s, q);
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
      float* sum = sums + s * kPanel + v * kWidth;
      store(sum, block == 0 ? acc[s][v] : load(sum) + acc[s][v]);
    }
  }
}

ENGINE_INLINE void prefetch_record(const NonZeros& x, int64_t i) {
  for (int64_t byte = 0; byte < x.header->prefetch_bytes; byte += 64) __builtin_prefetch(x.records[i] + byte);
}

/// add_samples for all `rows`; the batch ends with sample `end`. Records are prefetched by the columns that come to
/// them first, those that transpose, at the first block.
template <int Vectors, bool Transposes, class X>
__attribute__((noinline)) void add_block(float* sums, const NonZeros& x, const X value, Range rows, int64_t end,
                                         int64_t block, const float* b, int64_t ldb) {
  const auto prefetch = [&](int64_t sample) {
    if (Transposes && block == 0 && sample < end) prefetch_record(x, sample);
  };
  int64_t i = rows.begin;
  if constexpr (2 * Vectors <= kIndependentSums) {
    for (; i + 2 <= rows.end; i += 2, sums += 2 * kPanel) {
      prefetch(i + kPrefetchDistance);
      prefetch(i + 1 + kPrefetchDistance);
      add_samples<2, Vectors, Transposes>(sums, x, value, i, block, b, ldb);
    }
  }
  for (; i < rows.end; ++i, sums += kPanel) {
    prefetch(i + kPrefetchDistance);
    add_samples<1, Vectors, Transposes>(sums, x, value, i, block, b, ldb);
  }
}

/// The products of a group of samples with the columns [j, j + Vectors * kWidth) of a panel:
/// `epilogue(row, column, sums, ld, rows, vectors)`.
template <int Vectors, bool Transposes, class X, class Epilogue>
ENGINE_INLINE void sparse_group(const NonZeros& x, const X& value, Range rows, int64_t end, const float* b, int64_t ldb,
                                int64_t j, Epilogue&& epilogue) {
  alignas(64) float sums[kSampleGroup][kPanel];
  for (int64_t block = 0; block < x.blocks; ++block) {
    add_block<Vectors, Transposes>(sums[0], x, value, rows, end, block, b + block * kRecordBlock * ldb + j, ldb);
  }
  epilogue(rows.begin, j, sums[0], kPanel, rows.end - rows.begin, Vectors);
}

/// x (rows, k) b (k, columns): calls epilogue(row, column, sums, ld, rows, vectors) for groups of samples and for
/// columns of a panel.
template <class Epilogue>
ENGINE_INLINE void sparse_products(const NonZeros& x, Range rows, const float* b, int64_t ldb, Range columns,
                                   bool stores_transpose, Epilogue&& epilogue) {
  with_elements(x, [&](const auto& value) {
    for (int64_t i = rows.begin; i < rows.end; i += kSampleGroup) {
      const Range group{i, rows.end < i + kSampleGroup ? rows.end : i + kSampleGroup};
      sweep_vectors<kPanelVectors>(columns, [&](auto vectors, int64_t j) {
        constexpr int kVectors = decltype(vectors)::value;
        if (stores_transpose && j == columns.begin) {
          sparse_group<kVectors, true>(x, value, group, rows.end, b, ldb, j, epilogue);
        } else {
          sparse_group<kVectors, false>(x, value, group, rows.end, b, ldb, j, epilogue);
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

constexpr int kBlockTiles = static_cast<int>(kBlockInputs) / kTileInputs;
constexpr int kChainWords = static_cast<int>(kChain / NonZeros::kWordBits);

/// Bit i of found[tile][word] says whether sample i of the word has an element in one of the tile's inputs, which are
/// rows of x^T, for up to kChainWords `words`. If rows have half a word, the next row begins behind it.
template <class Element>
ENGINE_INLINE void find_samples(uint64_t (*found)[kChainWords], const Element* rows, int64_t ld, int tiles, int words) {
  const uint64_t valid = ld == NonZeros::kHalfWord ? ~uint64_t{0} >> NonZeros::kHalfWord : ~uint64_t{0};
  for (int tile = 0; tile < tiles; ++tile, rows += kTileInputs * ld) {
    for (int word = 0; word < words; ++word) {
      uint64_t bits = 0;
      for (int r = 0; r < kTileInputs; ++r) bits |= nonzero_bits(rows + r * ld + word * NonZeros::kWordBits);
      found[tile][word] = bits & valid;
    }
  }
}

/// tile (kTileInputs, Vectors) = rows of x^T times dz (samples, Vectors): one chain over the samples found. A sample
/// with an element in one row alone adds a zero term to the others. If `clears`, the rows are set to zero.
template <int Vectors, class X>
ENGINE_INLINE void sparse_chain(vf (&tile)[kTileInputs][Vectors], const X& value, typename X::Element* rows, int64_t ld,
                                const float* dz, int64_t lddz, const uint64_t* found, int words, bool clears) {
  vf acc[kTileInputs][Vectors];
#pragma GCC unroll 4
  for (int r = 0; r < kTileInputs; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) acc[r][v] = vf{};
  }
  for (int word = 0; word < words; ++word, rows += NonZeros::kWordBits, dz += NonZeros::kWordBits * lddz) {
    for (uint64_t bits = found[word]; bits; bits &= bits - 1) {
      const int64_t i = __builtin_ctzll(bits);
      const float* at = dz + i * lddz;
      vf dzi[Vectors];
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) dzi[v] = load(at + v * kWidth);
#pragma GCC unroll 4
      for (int r = 0; r < kTileInputs; ++r) {
        const vf xi = broadcast(value(rows[r * ld + i]));
#pragma GCC unroll 16
        for (int v = 0; v < Vectors; ++v) acc[r][v] = fma(xi, dzi[v], acc[r][v]);
      }
    }
    if (!found[word] || !clears) continue;
    if (ld == NonZeros::kHalfWord) {
      std::memset(rows, 0, kTileInputs * NonZeros::kHalfWord * sizeof *rows);
      continue;
    }
#pragma GCC unroll 4
    for (int r = 0; r < kTileInputs; ++r) std::memset(rows + r * ld, 0, NonZeros::kWordBits * sizeof *rows);
  }
  std::memcpy(tile, acc, sizeof acc);
}

/// The weight gradient x^T (inputs, samples) dz (samples, Vectors) of up to kBlockInputs inputs, in tiles of
/// kTileInputs: epilogue(input, sums, inputs). If `clears`, x^T is set to zero.
template <int Vectors, class X, class Epilogue>
__attribute__((noinline)) void sparse_tiles(const NonZeros& x, const X value, int64_t samples, Range inputs,
                                            const float* dz, int64_t lddz, bool clears, Epilogue&& epilogue) {
  using Element = typename X::Element;
  const int64_t ld = NonZeros::transposed_ld<Element>(x.samples);
  const int tiles = static_cast<int>(divide_up(inputs.end - inputs.begin, kTileInputs));
  vf partial[kBlockTiles][kTileInputs][Vectors];  // sums of the chains before
  for (int64_t begin = 0; begin < samples; begin += kChain) {
    const bool last = samples <= begin + kChain;
    const int words = last ? static_cast<int>(divide_up(samples - begin, NonZeros::kWordBits)) : kChainWords;
    Element* rows = static_cast<Element*>(x.storage) + inputs.begin * ld + begin;
    uint64_t found[kBlockTiles][kChainWords];
    find_samples(found, rows, ld, tiles, words);
    for (int tile = 0; tile < tiles; ++tile, rows += kTileInputs * ld) {
      vf sums[kTileInputs][Vectors];
      sparse_chain(sums, value, rows, ld, dz + begin * lddz, lddz, found[tile], words, clears);
      for (int r = 0; begin > 0 && r < kTileInputs; ++r) {
        for (int v = 0; v < Vectors; ++v) sums[r][v] = partial[tile][r][v] + sums[r][v];
      }
      if (last) {
        const int64_t input = inputs.begin + tile * kTileInputs, left = inputs.end - input;
        epilogue(input, sums[0], left < kTileInputs ? static_cast<int>(left) : kTileInputs);
      } else {
        std::memcpy(partial[tile], sums, sizeof sums);
      }
    }
  }
}

/// The weight gradient x (samples, inputs)^T dz (samples, columns), in tiles: epilogue(input, column, sums, inputs,
/// vectors). If `clears`, x^T is set to zero at the last columns. `inputs` begin at a multiple of kLineFloats, and end
/// at one or with the last input.
template <class Epilogue>
ENGINE_INLINE void sparse_transposed_products(const NonZeros& x, int64_t samples, Range inputs, const float* dz,
                                              int64_t lddz, Range columns, bool clears, Epilogue&& epilogue) {
  with_elements(x, [&](const auto& value) {
    sweep_vectors<kPanelVectors>(columns, [&](auto vectors, int64_t j) {
      constexpr int kVectors = decltype(vectors)::value;
      const bool clears_rows = clears && j + kVectors * kWidth == columns.end;
      for (int64_t i = inputs.begin; i < inputs.end; i += kBlockInputs) {
        const Range block{i, inputs.end < i + kBlockInputs ? inputs.end : i + kBlockInputs};
        sparse_tiles<kVectors>(
            x, value, samples, block, dz + j, lddz, clears_rows,
            [&](int64_t input, const vf* sums, int count) { epilogue(input, j, sums, count, kVectors); });
      }
    });
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
