// Products that skip the zeros of their left operand. Exact: what is left out are zero terms, and the sums end, as
// those of the dense products, with an addition of +0, so that both give the same bits for finite weights.
#pragma once
#include <type_traits>

#include "kernels/microtile.h"
#include "kernels/nonzeros.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int kPanelVectors = static_cast<int>(kPanel) / kWidth;
/// Chains that keep two FMA pipes of latency 4 busy: a product with fewer vectors takes two samples at a time. Where
/// fma is a call there is nothing to keep busy.
constexpr int kChainsInFlight = kUnrolled > 1 ? 8 : 0;
/// Inputs whose gradients are summed together, over the samples that have either: neighbours, of images, are mostly
/// zero together. As many as there are registers for; with four, half of the terms are zero.
constexpr int kInputsTogether = ENGINE_VECTOR_BYTES == 64 ? NonZeros::kMostTogether : 1;
/// Inputs whose samples are found before their gradients are summed. No sum then waits for vectors to tell where it
/// ends, and it goes on while the optimizer still divides for the sums before.
constexpr int64_t kInputsAhead = 64;
/// Samples whose sums (8 KiB) wait in the L1 cache while the blocks go by.
constexpr int64_t kSampleGroup = 32;
/// Samples whose records are asked for while those before are multiplied, 3 us.
constexpr int64_t kRecordsAhead = 8;
static_assert(kChain == kRecordBlock && kChain % NonZeros::kWordBits == 0);

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

/// sums (Together, Vectors) of samples i ... += the chains of one block of inputs; b points to the block's first row of
/// the kernel. Leaves the elements in `x.room` by input, if `Transposes`.
template <int Together, int Vectors, bool Transposes, class X>
ENGINE_INLINE void add_samples(float* sums, const NonZeros& x, const X& value, int64_t i, int64_t block, const float* b,
                               int64_t ldb) {
  using Element = typename X::Element;
  const int64_t ld = NonZeros::transposed_ld<Element>(x.samples);
  Element* transposed = static_cast<Element*>(x.room) + block * kRecordBlock * ld + i;
  vf acc[Together][Vectors];
  Elements<Element> elements[Together];
  int64_t common = kRecordBlock;  // elements of the shortest, in whole strides
#pragma GCC unroll 4
  for (int s = 0; s < Together; ++s) {
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
      for (int s = 0; s < Together; ++s) advance(s, q + u);
    }
  }
#pragma GCC unroll 4
  for (int s = 0; s < Together; ++s) {
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
  for (int64_t byte = 0; byte < x.header->far_bytes; byte += 64) __builtin_prefetch(x.records[i] + byte);
}

/// The same for all `rows`, of samples up to `end`. Records are asked for by whoever comes to them first: the columns
/// that transpose, at the first block.
template <int Vectors, bool Transposes, class X>
__attribute__((noinline)) void add_block(float* sums, const NonZeros& x, const X value, Range rows, int64_t end,
                                         int64_t block, const float* b, int64_t ldb) {
  const auto prefetch = [&](int64_t ahead) {
    if (Transposes && block == 0 && ahead < end) prefetch_record(x, ahead);
  };
  int64_t i = rows.begin;
  if constexpr (2 * Vectors <= kChainsInFlight) {
    for (; i + 2 <= rows.end; i += 2, sums += 2 * kPanel) {
      prefetch(i + kRecordsAhead);
      prefetch(i + 1 + kRecordsAhead);
      add_samples<2, Vectors, Transposes>(sums, x, value, i, block, b, ldb);
    }
  }
  for (; i < rows.end; ++i, sums += kPanel) {
    prefetch(i + kRecordsAhead);
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

/// x (rows, k) b (k, columns), where x has its zeros skipped
template <class Epilogue>
ENGINE_INLINE void sparse_products(const NonZeros& x, Range rows, const float* b, int64_t ldb, Range columns,
                                   bool transposes, Epilogue&& epilogue) {
  with_elements(x, [&](const auto& value) {
    for (int64_t i = rows.begin; i < rows.end; i += kSampleGroup) {
      const Range group{i, rows.end < i + kSampleGroup ? rows.end : i + kSampleGroup};
      sweep_vectors<kPanelVectors>(columns, [&](auto vectors, int64_t j) {
        constexpr int kVectors = decltype(vectors)::value;
        if (transposes && j == columns.begin) {
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

constexpr int kTilesAhead = static_cast<int>(kInputsAhead) / kInputsTogether;
constexpr int kChainWords = static_cast<int>(kChain / NonZeros::kWordBits);

/// Bit i of found[tile][word] is set where sample number i of the word has an element in one of the tile's units, which
/// are rows of x^T, for up to kChainWords `words`. Behind half a word the next row begins.
template <class Element>
ENGINE_INLINE void find_samples(uint64_t (*found)[kChainWords], const Element* rows, int64_t ld, int tiles, int words) {
  const uint64_t there = ld == NonZeros::kHalfWord ? ~uint64_t{0} >> NonZeros::kHalfWord : ~uint64_t{0};
  for (int tile = 0; tile < tiles; ++tile, rows += kInputsTogether * ld) {
    for (int word = 0; word < words; ++word) {
      uint64_t bits = 0;
      for (int r = 0; r < kInputsTogether; ++r) bits |= nonzero_bits(rows + r * ld + word * NonZeros::kWordBits);
      found[tile][word] = bits & there;
    }
  }
}

/// tile (kInputsTogether, Vectors) = rows of x^T times dz (samples, Vectors), a chain over the samples found. An
/// element that only one of the rows has adds a zero term to the others. The rows are zero afterwards, if `clears`.
template <int Vectors, class X>
ENGINE_INLINE void sparse_chain(vf (&tile)[kInputsTogether][Vectors], const X& value, typename X::Element* rows,
                                int64_t ld, const float* dz, int64_t lddz, const uint64_t* found, int words,
                                bool clears) {
  vf acc[kInputsTogether][Vectors];
#pragma GCC unroll 4
  for (int r = 0; r < kInputsTogether; ++r) {
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
      for (int r = 0; r < kInputsTogether; ++r) {
        const vf xi = broadcast(value(rows[r * ld + i]));
#pragma GCC unroll 16
        for (int v = 0; v < Vectors; ++v) acc[r][v] = fma(xi, dzi[v], acc[r][v]);
      }
    }
    if (!found[word] || !clears) continue;
    if (ld == NonZeros::kHalfWord) {
      std::memset(rows, 0, kInputsTogether * NonZeros::kHalfWord * sizeof *rows);
      continue;
    }
#pragma GCC unroll 4
    for (int r = 0; r < kInputsTogether; ++r) std::memset(rows + r * ld, 0, NonZeros::kWordBits * sizeof *rows);
  }
  std::memcpy(tile, acc, sizeof acc);
}

/// The products of x^T (units, samples), for up to kInputsAhead units, with dz (samples, Vectors), in tiles of
/// kInputsTogether units: `epilogue(unit, sums, units)`. What the forward product has left of x is zero afterwards, if
/// `clears`.
template <int Vectors, class X, class Epilogue>
__attribute__((noinline)) void sparse_tiles(const NonZeros& x, const X value, int64_t samples, Range units,
                                            const float* dz, int64_t lddz, bool clears, Epilogue&& epilogue) {
  using Element = typename X::Element;
  const int64_t ld = NonZeros::transposed_ld<Element>(x.samples);
  const int tiles = static_cast<int>(divide_up(units.end - units.begin, kInputsTogether));
  vf waiting[kTilesAhead][kInputsTogether][Vectors];  // sums of the chains so far
  for (int64_t begin = 0; begin < samples; begin += kChain) {
    const bool last = samples <= begin + kChain;
    const int words = last ? static_cast<int>(divide_up(samples - begin, NonZeros::kWordBits)) : kChainWords;
    Element* rows = static_cast<Element*>(x.room) + units.begin * ld + begin;
    uint64_t found[kTilesAhead][kChainWords];
    find_samples(found, rows, ld, tiles, words);
    for (int tile = 0; tile < tiles; ++tile, rows += kInputsTogether * ld) {
      vf sums[kInputsTogether][Vectors];
      sparse_chain(sums, value, rows, ld, dz + begin * lddz, lddz, found[tile], words, clears);
      for (int r = 0; begin > 0 && r < kInputsTogether; ++r) {
        for (int v = 0; v < Vectors; ++v) sums[r][v] = waiting[tile][r][v] + sums[r][v];
      }
      if (last) {
        const int64_t unit = units.begin + tile * kInputsTogether, left = units.end - unit;
        epilogue(unit, sums[0], left < kInputsTogether ? static_cast<int>(left) : kInputsTogether);
      } else {
        std::memcpy(waiting[tile], sums, sizeof sums);
      }
    }
  }
}

/// x (samples, units)^T dz (samples, columns), where x has its zeros skipped, in tiles: `epilogue(unit, column,
/// sums, units, vectors)`. The last call of a batch clears what the forward product has left. `units` begin at a
/// multiple of kLane and end at one, or with the inputs.
template <class Epilogue>
ENGINE_INLINE void sparse_transposed_products(const NonZeros& x, int64_t samples, Range units, const float* dz,
                                              int64_t lddz, Range columns, bool last, Epilogue&& epilogue) {
  with_elements(x, [&](const auto& value) {
    sweep_vectors<kPanelVectors>(columns, [&](auto vectors, int64_t j) {
      constexpr int kVectors = decltype(vectors)::value;
      const bool clears = last && j + kVectors * kWidth == columns.end;
      for (int64_t i = units.begin; i < units.end; i += kInputsAhead) {
        const Range ahead{i, units.end < i + kInputsAhead ? units.end : i + kInputsAhead};
        sparse_tiles<kVectors>(
            x, value, samples, ahead, dz + j, lddz, clears,
            [&](int64_t unit, const vf* sums, int count) { epilogue(unit, j, sums, count, kVectors); });
      }
    });
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
