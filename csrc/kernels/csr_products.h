// Products whose left operand x is a list of the nonzero elements of each row (CSR, as in scipy.sparse). They give the
// same bits as the dense products. Those of sparse_products.h are for rows with many elements in every chain of terms;
// rows in CSR may have one element in several chains.
#pragma once
#include "kernels/compressed_rows.h"
#include "kernels/microtile.h"

namespace engine::ENGINE_ISA {
namespace {

/// Vectors of a panel whose sums a row adds up at a time: two registers each, and room for all else.
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

/// Shuffled rows lie anywhere: each is asked for while the ones before it are worked on.
ENGINE_INLINE void prefetch_sample(const CompressedBatch& x, int64_t sample, int64_t end) {
  constexpr int64_t kAhead = 4;
  if (sample + kAhead < end) RowElements(x, sample + kAhead).prefetch();
}

/// A row, and the one after it, whose rows of b are fetched meanwhile: by themselves, a few loads at a time would wait.
struct Neighbours {
  RowElements row, next;

  /// The lines of b that element e of the next row will want.
  template <int Vectors>
  ENGINE_INLINE void fetch(int64_t e, const float* b, int64_t ldb) const {
    if (e >= next.count) return;
    const float* ahead = b + next.columns[e] * ldb;
#pragma GCC unroll 4
    for (int j = 0; j < Vectors * kWidth; j += static_cast<int>(kLane)) __builtin_prefetch(ahead + j);
  }
};

/// All bits or none. Where compilers see a choice between vectors they branch.
ENGINE_INLINE vi mask_if(bool all) { return (all ? -1 : 0) - vi{}; }
ENGINE_INLINE vf masked(vf v, vi mask) { return from_bits(bits(v) & mask); }

/// sums = x times b, in chains. Most have a few elements, and a loop for each would end where nobody expects it: a
/// chain is kept or added by masks, in half of the time.
template <int Vectors>
ENGINE_INLINE void sum_chains(vf (&sums)[Vectors], const Neighbours& rows, const float* b, int64_t ldb) {
  const RowElements& x = rows.row;
  vf chain[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) chain[v] = sums[v] = vf{};
  int32_t number = 0;
  for (int64_t e = 0; e < x.count; ++e) {
    rows.fetch<Vectors>(e, b, ldb);
    const int32_t column = x.columns[e], own = column / static_cast<int32_t>(kChain);
    const vi ends = mask_if(own != number);
    number = own;
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

/// sum += value * row of b, for elements from e on that lie before column `end`; returns the first that doesn't.
template <int Vectors>
ENGINE_INLINE int64_t add_elements(vf (&sum)[Vectors], const Neighbours& rows, int64_t e, int64_t end, const float* b,
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

/// Adds to `tile` the sum that waits at the lowest of `levels`, if there is one, and takes it from them.
template <int Vectors>
ENGINE_INLINE void join_waiting(vf (&tile)[Vectors], const vf (*waiting)[Vectors], uint64_t& levels) {
  constexpr uint64_t kNone = uint64_t{1} << 63;  // where zero waits
  const int level = __builtin_ctzll(levels | kNone);
  levels &= levels - 1;
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) tile[v] = waiting[level][v] + tile[v];
}

/// sums = x times b, in slices, the first of which starts with `bias`. They are added as PairwiseSum does, in pairs,
/// pairs of pairs and so on, but for branches of that tree that are empty.
template <int Vectors>
ENGINE_INLINE void sum_gapped_slices(vf (&sums)[Vectors], const Neighbours& rows, const float* b, int64_t ldb,
                                     const vf (&bias)[Vectors]) {
  const RowElements& x = rows.row;
  constexpr int kLevels = 64;
  vf waiting[kLevels][Vectors];  // left halves of pairs whose right halves are not complete
  // The one of the smallest pair, kept in registers: it is mostly wanted next, and memory takes longer than a slice.
  vf lowest[Vectors];
  uint64_t filled = 0;  // levels where a sum waits
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) waiting[kLevels - 1][v] = sums[v] = lowest[v] = vf{};
  // Nothing waits below a slice's level for every other one, one sum for every fourth, and so on: branches for the
  // first three would be mispredicted too often (7.0 ns an element; for all but the first two 5.6, all but three 5.1).
  // Two rows at a time gain nothing, and a list of what to add to what, made once for all epochs, takes 7.0, as all
  // then goes through memory.
  const auto join = [&](uint64_t below) __attribute__((always_inline)) {
    uint64_t levels = filled & below;
    const vi any = mask_if(levels != 0);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[v] = masked(lowest[v], any) + sums[v];
    levels &= levels - 1;
    join_waiting(sums, waiting, levels);
    join_waiting(sums, waiting, levels);
    while (__builtin_expect(levels != 0, 0)) join_waiting(sums, waiting, levels);
  };
  int64_t slice = 0, e = add_elements(sums, rows, 0, kSlice, b, ldb);
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sums[v] = sums[v] + bias[v];
  while (e < x.count) {
    const int64_t next = x.columns[e] / kSlice;
    // The two part in the pair of this level, whose left half is complete then.
    const int level = kLevels - 1 - __builtin_clzll(static_cast<uint64_t>(slice ^ next));
    join((uint64_t{1} << level) - 1);
    filled = (filled >> level | 1) << level;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      waiting[level][v] = lowest[v] = sums[v];
      sums[v] = vf{};
    }
    slice = next;
    e = add_elements(sums, rows, e, (slice + 1) * kSlice, b, ldb);
  }
  join(~uint64_t{0});
}

/// out (rows, Vectors) = the products of samples with columns of a panel
template <int Vectors, bool InSlices>
void compressed_rows(float* out, const CompressedBatch& x, Range rows, int64_t end, const float* b, int64_t ldb,
                     const float* bias) {
  for (int64_t i = rows.begin; i < rows.end; ++i, out += Vectors * kWidth) {
    prefetch_sample(x, i, end);
    const Neighbours pair{RowElements(x, i), i + 1 < end ? RowElements(x, i + 1) : RowElements()};
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

/// x (rows, k) b (k, columns), some rows at a time: `epilogue(row, column, sums, ld, rows, vectors)`. `bias` joins sums
/// in slices.
template <class Epilogue>
ENGINE_INLINE void compressed_products(const CompressedBatch& x, Range rows, const float* b, int64_t ldb, Range columns,
                                       bool in_slices, const float* bias, Epilogue&& epilogue) {
  constexpr int64_t kTogether = 32;  // rows, whose sums (8 KiB) wait in the L1 cache
  // Not inlined: one for all numbers of vectors.
  const auto multiply = [&](auto* sum_rows, int vectors, int64_t j) __attribute__((noinline)) {
    alignas(64) float sums[kTogether * kRowVectors * kWidth];
    for (int64_t i = rows.begin; i < rows.end; i += kTogether) {
      const Range some{i, rows.end < i + kTogether ? rows.end : i + kTogether};
      sum_rows(sums, x, some, rows.end, b + j, ldb, bias ? bias + j : nullptr);
      epilogue(i, j, sums, vectors * kWidth, some.end - i, vectors);
    }
  };
  if (in_slices) {
    return sweep_vectors<kParts>(columns, [&](auto vectors, int64_t j) {
      multiply(compressed_rows<decltype(vectors)::value, true>, decltype(vectors)::value, j);
    });
  }
  sweep_vectors<kRowVectors>(columns, [&](auto vectors, int64_t j) {
    multiply(compressed_rows<decltype(vectors)::value, false>, decltype(vectors)::value, j);
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
    vf slope[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) slope[v] = load(dz + b * lddz + v * kWidth);
    int64_t e = elements[b];
    for (; e < row.count && row.columns[e] < inputs.end; ++e) {
      const vf value = row.value(e);
      float* at = sums + (row.columns[e] - inputs.begin) * kRow;
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) store(at + v * kWidth, fma(value, slope[v], load(at + v * kWidth)));
    }
    elements[b] = e;
  }
}

/// x (samples, inputs)^T dz (samples, columns), as many inputs at a time as there is room for:
/// `epilogue(input, column, sums, inputs, vectors)`.
template <class Epilogue>
ENGINE_INLINE void compressed_transposed_products(const CompressedBatch& x, const CompressedSums& room, int64_t samples,
                                                  Range inputs, const float* dz, int64_t lddz, Range columns,
                                                  Epilogue&& epilogue) {
  // Not inlined: one for all numbers of vectors.
  const auto multiply = [&](auto* scatter, int vectors, int64_t j) __attribute__((noinline)) {
    for (int64_t b = 0; b < samples; ++b) {
      room.elements[b] = inputs.begin == 0 ? 0 : find_element(RowElements(x, b), inputs.begin);
    }
    const int64_t row = vectors * kWidth, together = room.floats / row;
    for (int64_t i = inputs.begin; i < inputs.end; i += together) {
      const Range some{i, inputs.end < i + together ? inputs.end : i + together};
      const int64_t count = some.end - i;
      for (int64_t begin = 0; begin < samples; begin += kChain) {
        const Range chain{begin, samples < begin + kChain ? samples : begin + kChain};
        scatter(begin == 0 ? room.sums : room.chain, x, chain, samples, room.elements, some, dz + j, lddz);
        for (int64_t at = 0; begin > 0 && at < count * row; at += kWidth) {
          store(room.sums + at, load(room.sums + at) + load(room.chain + at));
        }
      }
      epilogue(i, j, reinterpret_cast<const vf*>(room.sums), static_cast<int>(count), vectors);
    }
  };
  sweep_vectors<kRowVectors>(columns, [&](auto vectors, int64_t j) {
    multiply(scatter_chain<decltype(vectors)::value>, decltype(vectors)::value, j);
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
