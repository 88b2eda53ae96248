// Products of a dense layer for x in CSR (compressed_rows.h): y = x kernel, and the weight gradient x^T dz. Their bits
// are those of the dense products. sparse_products.h is for rows with many elements in every chain of terms; rows in
// CSR may have one element in several chains.
#pragma once
#include "kernels/compressed_rows.h"
#include "kernels/microtile.h"

namespace engine::ENGINE_ISA {
namespace {

/// The vectors of columns that a row sums at a time: each needs two registers, one for the chain and one for the sum.
constexpr int kRowVectors = 4;

/// The elements of one row.
struct RowElements {
  const int32_t* columns = nullptr;
  const float* values = nullptr;
  int64_t count = 0;
  float scale = 1.0f;

  RowElements() = default;
  RowElements(const CompressedBatch& x, int64_t sample) : scale(x.scale) {
    const int64_t row = x.row(sample), begin = x.rows.begins[row];
    columns = x.rows.columns + begin;
    values = x.rows.values + begin;
    count = x.rows.begins[row + 1] - begin;
  }

  ENGINE_INLINE vf value(int64_t e) const { return broadcast(values[e] * scale); }

  void prefetch() const {
    constexpr int64_t kPerLine = 16;
    for (int64_t e = 0; e < count; e += kPerLine) {
      __builtin_prefetch(columns + e);
      __builtin_prefetch(values + e);
    }
  }
};

/// Prefetches a row while the ones before it are multiplied: shuffled rows are anywhere in memory.
ENGINE_INLINE void prefetch_sample(const CompressedBatch& x, int64_t sample, int64_t end) {
  constexpr int64_t kPrefetchDistance = 4;
  if (sample + kPrefetchDistance < end) RowElements(x, sample + kPrefetchDistance).prefetch();
}

/// A row of x and the one after it, whose rows of b are prefetched meanwhile: without that, the product would wait for
/// them a few at a time.
struct RowAndNext {
  RowElements row, next;

  /// Prefetches the row of b for element e of the next row.
  template <int Vectors>
  ENGINE_INLINE void fetch(int64_t e, const float* b, int64_t ldb) const {
    if (e >= next.count) return;
    const float* row_of_b = b + next.columns[e] * ldb;
#pragma GCC unroll 4
    for (int j = 0; j < Vectors * kWidth; j += static_cast<int>(kLineFloats)) __builtin_prefetch(row_of_b + j);
  }
};

/// All bits or none. Compilers make a branch of a choice between vectors, but not of a mask.
ENGINE_INLINE vi mask_if(bool all) { return (all ? -1 : 0) - vi{}; }
ENGINE_INLINE vf masked(vf v, vi mask) { return from_bits(bits(v) & mask); }

/// sums = x times b, in chains. Most chains have a few elements, so that the ends of a loop for each would be
/// mispredicted. Instead masks say at each element whether the chain ends, which takes half of the time.
template <int Vectors>
ENGINE_INLINE void sum_chains(vf (&sums)[Vectors], const RowAndNext& rows, const float* b, int64_t ldb) {
  const RowElements& x = rows.row;
  vf chain[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) chain[v] = sums[v] = vf{};
  int32_t number = 0;
  for (int64_t e = 0; e < x.count; ++e) {
    rows.fetch<Vectors>(e, b, ldb);
    const int32_t column = x.columns[e], this_chain = column / static_cast<int32_t>(kChain);
    const vi ends = mask_if(this_chain != number);
    number = this_chain;
    const vf value = x.value(e);
    const float* bp = b + int64_t{column} * ldb;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      sums[v] = sums[v] + masked(chain[v], ends);
      chain[v] = fma(value, load(bp + v * kWidth), masked(chain[v], ~ends));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sums[v] = sums[v] + chain[v];
}

/// sum += value * row of b for the elements from e on with a column before `end`; returns the first element after
/// these.
template <int Vectors>
ENGINE_INLINE int64_t add_elements(vf (&sum)[Vectors], const RowAndNext& rows, int64_t e, int64_t end, const float* b,
                                   int64_t ldb) {
  const RowElements& x = rows.row;
  for (; e < x.count && x.columns[e] < end; ++e) {
    rows.fetch<Vectors>(e, b, ldb);
    const vf value = x.value(e);
    const float* bp = b + x.columns[e] * ldb;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sum[v] = fma(value, load(bp + v * kWidth), sum[v]);
  }
  return e;
}

/// Adds to `tile` the sum that waits at the lowest of `levels`, if there is one, and removes that level.
template <int Vectors>
ENGINE_INLINE void add_waiting(vf (&tile)[Vectors], const vf (*waiting)[Vectors], uint64_t& levels) {
  constexpr uint64_t kNone = uint64_t{1} << 63;  // a level whose waiting sum is always zero
  const int level = __builtin_ctzll(levels | kNone);
  levels &= levels - 1;
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) tile[v] = waiting[level][v] + tile[v];
}

/// sums = x times b, in slices, the first of which includes `bias`. They are added in the order of PairwiseSum
/// (slices.h): in pairs, pairs of pairs and so on. Parts of that tree without elements are left out.
template <int Vectors>
ENGINE_INLINE void sum_gapped_slices(vf (&sums)[Vectors], const RowAndNext& rows, const float* b, int64_t ldb,
                                     const vf (&bias)[Vectors]) {
  const RowElements& x = rows.row;
  constexpr int kLevels = 64;
  vf waiting[kLevels][Vectors];  // left halves of pairs whose right halves are not complete
  // The waiting sum of the lowest level, in registers: it is mostly needed next, and memory has a longer latency.
  vf lowest[Vectors];
  uint64_t filled = 0;  // levels where a sum waits
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) waiting[kLevels - 1][v] = sums[v] = lowest[v] = vf{};
  // Adds the waiting sums of the levels in `below`. Half of the time there are none, a quarter of the time one, and so
  // on. Branches for the first three would be mispredicted too often, so that these are added by masks: 5.1 ns an
  // element, with masks for the first two 5.6, with branches 7.0. Two rows at a time gain nothing. A list of additions,
  // made once for all epochs, takes 7.0, as all sums then go through memory.
  const auto add_levels = [&](uint64_t below) __attribute__((always_inline)) {
    uint64_t levels = filled & below;
    const vi any = mask_if(levels != 0);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[v] = masked(lowest[v], any) + sums[v];
    levels &= levels - 1;
    add_waiting(sums, waiting, levels);
    add_waiting(sums, waiting, levels);
    while (__builtin_expect(levels != 0, 0)) add_waiting(sums, waiting, levels);
  };
  int64_t slice = 0, e = add_elements(sums, rows, 0, kSlice, b, ldb);
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sums[v] = sums[v] + bias[v];
  while (e < x.count) {
    const int64_t next = x.columns[e] / kSlice;
    // The lowest level at which both slices are in one pair. Its left half is complete.
    const int level = kLevels - 1 - __builtin_clzll(static_cast<uint64_t>(slice ^ next));
    add_levels((uint64_t{1} << level) - 1);
    filled = (filled >> level | 1) << level;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      waiting[level][v] = lowest[v] = sums[v];
      sums[v] = vf{};
    }
    slice = next;
    e = add_elements(sums, rows, e, (slice + 1) * kSlice, b, ldb);
  }
  add_levels(~uint64_t{0});
}

/// out (rows, Vectors) = the products of samples with columns of a panel
template <int Vectors, bool InSlices>
void compressed_rows(float* out, const CompressedBatch& x, Range rows, int64_t end, const float* b, int64_t ldb,
                     const float* bias) {
  for (int64_t i = rows.begin; i < rows.end; ++i, out += Vectors * kWidth) {
    prefetch_sample(x, i, end);
    const RowAndNext pair{RowElements(x, i), i + 1 < end ? RowElements(x, i + 1) : RowElements()};
    vf sums[Vectors];
    if constexpr (InSlices) {
      vf start[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) start[v] = bias ? load(bias + v * kWidth) : vf{};
      sum_gapped_slices(sums, pair, b, ldb, start);
    } else {
      sum_chains(sums, pair, b, ldb);
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) store(out + v * kWidth, sums[v]);
  }
}

/// x (rows, k) b (k, columns) for columns [j, j + Vectors * kWidth): calls epilogue(row, column, sums, ld, rows,
/// vectors) for kGroup rows at a time, whose sums (8 KiB) stay in the L1 cache.
template <int Vectors, bool InSlices, class Epilogue>
ENGINE_INLINE void compressed_columns(const CompressedBatch& x, Range rows, const float* b, int64_t ldb, int64_t j,
                                      const float* bias, Epilogue&& epilogue) {
  constexpr int64_t kGroup = 32;
  alignas(64) float sums[kGroup * Vectors * kWidth];
  for (int64_t i = rows.begin; i < rows.end; i += kGroup) {
    const Range group{i, rows.end < i + kGroup ? rows.end : i + kGroup};
    compressed_rows<Vectors, InSlices>(sums, x, group, rows.end, b + j, ldb, bias ? bias + j : nullptr);
    epilogue(i, j, sums, Vectors * kWidth, group.end - i, Vectors);
  }
}

/// x (rows, k) b (k, columns): epilogue(row, column, sums, ld, rows, vectors). Sums in slices include the bias.
template <class Epilogue>
ENGINE_INLINE void compressed_products(const CompressedBatch& x, Range rows, const float* b, int64_t ldb, Range columns,
                                       bool in_slices, const float* bias, Epilogue&& epilogue) {
  if (in_slices) {
    return sweep_vectors<kVectorsPerLine>(columns, [&](auto vectors, int64_t j) {
      compressed_columns<decltype(vectors)::value, true>(x, rows, b, ldb, j, bias, epilogue);
    });
  }
  sweep_vectors<kRowVectors>(columns, [&](auto vectors, int64_t j) {
    compressed_columns<decltype(vectors)::value, false>(x, rows, b, ldb, j, nullptr, epilogue);
  });
}

/// The first element of a row at `column` or later.
ENGINE_INLINE int64_t find_element(const RowElements& x, int64_t column) {
  int64_t begin = 0;
  for (int64_t left = x.count; left > 0;) {
    const int64_t half = left / 2;
    const bool before = x.columns[begin + half] < column;
    begin = before ? begin + half + 1 : begin;
    left = before ? left - half - 1 : half;
  }
  return begin;
}

/// sums (inputs, Vectors) = rows `inputs` of x^T times dz (samples, Vectors), for one chain of samples, from zero
template <int Vectors>
__attribute__((noinline)) void scatter_chain(float* sums, const CompressedBatch& x, Range samples, int64_t end,
                                             int64_t* elements, Range inputs, const float* dz, int64_t lddz) {
  constexpr int64_t kRow = Vectors * kWidth;
  std::memset(sums, 0, static_cast<size_t>((inputs.end - inputs.begin) * kRow) * sizeof *sums);
  for (int64_t b = samples.begin; b < samples.end; ++b) {
    prefetch_sample(x, b, end);
    const RowElements row(x, b);
    vf gradient[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) gradient[v] = load(dz + b * lddz + v * kWidth);
    int64_t e = elements[b];
    for (; e < row.count && row.columns[e] < inputs.end; ++e) {
      const vf value = row.value(e);
      float* at = sums + (row.columns[e] - inputs.begin) * kRow;
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) store(at + v * kWidth, fma(value, gradient[v], load(at + v * kWidth)));
    }
    elements[b] = e;
  }
}

/// The weight gradient x (samples, inputs)^T dz (samples, columns), for as many inputs at a time as `scratch` can hold:
/// epilogue(input, column, sums, inputs, vectors).
template <class Epilogue>
ENGINE_INLINE void compressed_transposed_products(const CompressedBatch& x, const CompressedSums& scratch,
                                                  int64_t samples, Range inputs, const float* dz, int64_t lddz,
                                                  Range columns, Epilogue&& epilogue) {
  sweep_vectors<kRowVectors>(columns, [&](auto vectors, int64_t j) {
    constexpr int kVectors = decltype(vectors)::value;
    constexpr int64_t kRow = kVectors * kWidth;
    for (int64_t b = 0; b < samples; ++b) {
      scratch.elements[b] = inputs.begin == 0 ? 0 : find_element(RowElements(x, b), inputs.begin);
    }
    const int64_t most = scratch.floats / kRow;
    for (int64_t i = inputs.begin; i < inputs.end; i += most) {
      const Range block{i, inputs.end < i + most ? inputs.end : i + most};
      const int64_t count = block.end - i;
      for (int64_t begin = 0; begin < samples; begin += kChain) {
        scatter_chain<kVectors>(begin == 0 ? scratch.sums : scratch.chain, x, chain_from(begin, samples), samples,
                                scratch.elements, block, dz + j, lddz);
        for (int64_t at = 0; begin > 0 && at < count * kRow; at += kWidth) {
          store(scratch.sums + at, load(scratch.sums + at) + load(scratch.chain + at));
        }
      }
      epilogue(i, j, reinterpret_cast<const vf*>(scratch.sums), static_cast<int>(count), kVectors);
    }
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
