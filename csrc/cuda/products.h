// Products of matrices, by tiles: each block computes tiles of the result from parts of both operands, which its
// threads bring into shared memory. The terms of a sum are added in order, by one fma each or, on tensor cores, by one
// matrix instruction for 8 or 16 of them, so that the bits depend neither on the tile nor on the number of blocks.
#pragma once
#include "cuda/kernel.h"
#include "cuda/tensor_cores.h"

namespace engine::cuda {

/// The tile (M, N) of a result, of which K terms at a time lie in shared memory. Each thread has TM x TN of its sums.
template <int M, int N, int K, int TM, int TN>
struct Tile {
  static constexpr bool kOnTensorCores = false;
  static constexpr int kM = M, kN = N, kK = K, kTM = TM, kTN = TN;
  // Threads of a warp write down K columns at the same time: with so many floats more, they meet different banks.
  static constexpr int kLdA = M + kWarp / K, kLdB = N + kWarp / K;
  static constexpr int64_t kSharedBytes = K * (kLdA + kLdB) * static_cast<int64_t>(sizeof(float));
  static_assert(M / TM * (N / TN) == kThreads);
};
using SmallTile = Tile<32, 32, 32, 2, 2>;
using LargeTile = Tile<128, 128, 8, 8, 8>;

/// The tile (M, N) of a result that tensor cores compute. Its warps are `WarpsDown` rows of them, each of which has
/// several results (16, 8) of the matrix instruction. In shared memory a row of a and a column of b have 16 words: 32
/// terms of 16 bits, or 16 of TensorFloat32.
template <int M, int N, int WarpsDown>
struct TensorTile {
  static constexpr bool kOnTensorCores = true;
  static constexpr int kM = M, kN = N, kWords = 16;
  static constexpr int kLd = kWords + 4;  // so that 8 rows of 4 words, which a warp reads and writes, are in 32 banks
  static constexpr int kWarpsAcross = kThreads / kWarp / WarpsDown;
  static constexpr int kRowsOfWarp = M / WarpsDown, kColumnsOfWarp = N / kWarpsAcross;
  static constexpr int kDown = kRowsOfWarp / kRowsOfMatrix, kAcross = kColumnsOfWarp / kColumnsOfMatrix;
  static constexpr int kPartWords = (M + N) * kLd;
  /// While warps multiply one part, they write the next one.
  static constexpr int64_t kSharedBytes = 2 * kPartWords * static_cast<int64_t>(sizeof(uint32_t));
  static_assert(kDown * kRowsOfMatrix * WarpsDown == M && kAcross * kColumnsOfMatrix * kWarpsAcross == N);
};
using SmallTensorTile = TensorTile<32, 32, 2>;
using MediumTensorTile = TensorTile<64, 64, 2>;
using LargeTensorTile = TensorTile<128, 128, 2>;

template <class T>
int64_t tiles_of(int64_t m, int64_t n) {
  return (m + T::kM - 1) / T::kM * ((n + T::kN - 1) / T::kN);
}

/// An operand of a product. `kAcross` says that the numbers of a row lie side by side, and not those of a column, so
/// that threads read neighbours together.
template <bool kAcross>
struct Matrix {
  static constexpr bool kRowsAreContiguous = kAcross;
  const float* data;
  int64_t ld;

  __device__ float operator()(int64_t i, int64_t j) const { return kAcross ? data[i * ld + j] : data[j * ld + i]; }
};

/// Brings elements (i0 ..., j0 ...) of an operand, `Rows` x `Columns` of them, to part[j * ld + i], zeros where it
/// ends.
template <int Rows, int Columns, class A>
__device__ inline void load_part(const A& a, int64_t i0, int64_t j0, int64_t rows, int64_t columns, float* part,
                                 int ld) {
  for (int e = static_cast<int>(threadIdx.x); e < Rows * Columns; e += kThreads) {
    const int i = A::kRowsAreContiguous ? e / Columns : e % Rows, j = A::kRowsAreContiguous ? e % Columns : e / Rows;
    const bool inside = i0 + i < rows && j0 + j < columns;
    part[j * ld + i] = inside ? a(i0 + i, j0 + j) : 0.0f;
  }
}

/// The same, to part[i * ld + j].
template <int Rows, int Columns, class B>
__device__ inline void load_part_in_rows(const B& b, int64_t i0, int64_t j0, int64_t rows, int64_t columns, float* part,
                                         int ld) {
  for (int e = static_cast<int>(threadIdx.x); e < Rows * Columns; e += kThreads) {
    const int i = B::kRowsAreContiguous ? e / Columns : e % Rows, j = B::kRowsAreContiguous ? e % Columns : e / Rows;
    const bool inside = i0 + i < rows && j0 + j < columns;
    part[i * ld + j] = inside ? b(i0 + i, j0 + j) : 0.0f;
  }
}

/// Calls store(i, j, sum over p of a(i, p) b(p, j)) for the elements of one tile, which begins at row i0 and column j0
/// of the result (m, n), with k terms in each sum. All threads of a block call it.
template <class T, class A, class B, class Store>
__device__ inline void multiply_tile(int64_t i0, int64_t j0, int64_t m, int64_t n, int64_t k, const A& a, const B& b,
                                     Store&& store) {
  float* const part_of_a = shared_memory();              // (K, M)
  float* const part_of_b = part_of_a + T::kK * T::kLdA;  // (K, N)
  constexpr int kAcross = T::kN / T::kTN, kDown = T::kM / T::kTM;
  const int column = static_cast<int>(threadIdx.x) % kAcross, row = static_cast<int>(threadIdx.x) / kAcross;
  float sums[T::kTM][T::kTN] = {};
  for (int64_t p0 = 0; p0 < k; p0 += T::kK) {
    load_part<T::kM, T::kK>(a, i0, p0, m, k, part_of_a, T::kLdA);
    load_part_in_rows<T::kK, T::kN>(b, p0, j0, k, n, part_of_b, T::kLdB);
    __syncthreads();
    ENGINE_UNROLL(8)
    for (int p = 0; p < T::kK; ++p) {
      float of_a[T::kTM], of_b[T::kTN];
      ENGINE_UNROLL(8)
      for (int r = 0; r < T::kTM; ++r) of_a[r] = part_of_a[p * T::kLdA + row + r * kDown];
      ENGINE_UNROLL(8)
      for (int c = 0; c < T::kTN; ++c) of_b[c] = part_of_b[p * T::kLdB + column + c * kAcross];
      ENGINE_UNROLL(8)
      for (int r = 0; r < T::kTM; ++r) {
        ENGINE_UNROLL(8)
        for (int c = 0; c < T::kTN; ++c) sums[r][c] = formulas::fma(of_a[r], of_b[c], sums[r][c]);
      }
    }
    __syncthreads();
  }
  ENGINE_UNROLL(8)
  for (int r = 0; r < T::kTM; ++r) {
    ENGINE_UNROLL(8)
    for (int c = 0; c < T::kTN; ++c) {
      const int64_t i = i0 + row + r * kDown, j = j0 + column + c * kAcross;
      if (i < m && j < n) store(i, j, sums[r][c]);
    }
  }
}

// ---- On tensor cores ------------------------------------------------------------------------------------------------

/// The right operand of a product with rows and columns exchanged.
template <class B>
struct Transposed {
  static constexpr bool kRowsAreContiguous = !B::kRowsAreContiguous;
  const B& b;
  __device__ float operator()(int64_t j, int64_t p) const { return b(p, j); }
};

/// A part of an operand on its way from memory of the card to shared memory: of `Rows` rows kWords words of terms, as
/// the tile T has them. Each thread holds some of these words in registers, so that it can multiply the part before
/// while they come.
template <class T, class Format, int Rows>
class PartInRegisters {
 public:
  /// Reads terms from p0 on of rows from i0 on, zeros where the operand ends.
  template <class A>
  __device__ void load(const A& a, int64_t i0, int64_t p0, int64_t rows, int64_t terms) {
    ENGINE_UNROLL(8)
    for (int w = 0; w < kWordsOfThread; ++w) {
      const Place at = place<A>(w);
      ENGINE_UNROLL(2)
      for (int n = 0; n < kNumbers; ++n) {
        const int64_t i = i0 + at.row, p = p0 + at.word * kNumbers + n;
        numbers_[w][n] = i < rows && p < terms ? a(i, p) : 0.0f;
      }
    }
  }
  /// Rounds them, and writes them to part[row * kLd + word].
  template <class A>
  __device__ void store(uint32_t* part) const {
    ENGINE_UNROLL(8)
    for (int w = 0; w < kWordsOfThread; ++w) {
      const Place at = place<A>(w);
      part[at.row * T::kLd + at.word] = Format::word(numbers_[w]);
    }
  }

 private:
  static constexpr int kNumbers = Format::kNumbersOfWord, kWordsOfThread = Rows * T::kWords / kThreads;
  struct Place {
    int row, word;
  };

  /// Where word w of a thread belongs. The lanes of a warp have 8 rows of 4 words, and neighbours in memory are those
  /// of neighbouring lanes. A thread has the same word of all its rows.
  template <class A>
  static __device__ Place place(int w) {
    constexpr int kRows = 8, kWordsTogether = kWarp / kRows, kWarpsAcross = T::kWords / kWordsTogether;
    constexpr int kRowsTogether = kThreads / kWarp / kWarpsAcross * kRows;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
    const int row = A::kRowsAreContiguous ? lane / kWordsTogether : lane % kRows;
    const int word = A::kRowsAreContiguous ? lane % kWordsTogether : lane / kRows;
    return {w * kRowsTogether + warp / kWarpsAcross * kRows + row, warp % kWarpsAcross * kWordsTogether + word};
  }

  float numbers_[kWordsOfThread][kNumbers];
};

/// The sums of a warp: sums[r][c] += the product of rows 16 r ... of its part of a with columns 8 c ... of its part of
/// b.
template <class T, class Format>
__device__ inline void multiply_part(const uint32_t* part_of_a, const uint32_t* part_of_b,
                                     float (&sums)[T::kDown][T::kAcross][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  ENGINE_UNROLL(2)
  for (int step = 0; step < T::kWords / kWordsOfMatrix; ++step) {
    const int word = step * kWordsOfMatrix + t;
    uint32_t of_a[T::kDown][4], of_b[T::kAcross][2];
    ENGINE_UNROLL(4)
    for (int r = 0; r < T::kDown; ++r) {
      const uint32_t* const upper = part_of_a + (r * kRowsOfMatrix + g) * T::kLd + word;
      const uint32_t* const lower = upper + kRowsOfMatrix / 2 * T::kLd;
      of_a[r][0] = upper[0], of_a[r][1] = lower[0], of_a[r][2] = upper[4], of_a[r][3] = lower[4];
    }
    ENGINE_UNROLL(4)
    for (int c = 0; c < T::kAcross; ++c) {
      const uint32_t* const column = part_of_b + (c * kColumnsOfMatrix + g) * T::kLd + word;
      of_b[c][0] = column[0], of_b[c][1] = column[4];
    }
    ENGINE_UNROLL(4)
    for (int r = 0; r < T::kDown; ++r) {
      ENGINE_UNROLL(4)
      for (int c = 0; c < T::kAcross; ++c) Format::multiply_add(sums[r][c], of_a[r], of_b[c]);
    }
  }
}

/// The sums of all k terms of the tile at row i0 and column j0, of which a warp has those from (row, column) on.
template <class T, class Format, class A, class B>
__device__ inline void sum_on_tensor_cores(int64_t i0, int64_t j0, int64_t m, int64_t n, int64_t k, const A& a,
                                           const B& b, int row, int column, float (&sums)[T::kDown][T::kAcross][4]) {
  constexpr int kTerms = T::kWords * Format::kNumbersOfWord;
  auto* part = reinterpret_cast<uint32_t*>(shared_memory());  // (M, kLd) of a, then (N, kLd) of b; twice
  auto* next = part + T::kPartWords;
  const Transposed<B> columns{b};
  PartInRegisters<T, Format, T::kM> of_a;
  PartInRegisters<T, Format, T::kN> of_b;
  of_a.load(a, i0, 0, m, k);
  of_b.load(columns, j0, 0, n, k);
  for (int64_t p0 = 0; p0 < k; p0 += kTerms) {
    of_a.template store<A>(part);
    of_b.template store<Transposed<B>>(part + T::kM * T::kLd);
    __syncthreads();
    if (p0 + kTerms < k) {
      of_a.load(a, i0, p0 + kTerms, m, k);
      of_b.load(columns, j0, p0 + kTerms, n, k);
    }
    multiply_part<T, Format>(part + row * T::kLd, part + (T::kM + column) * T::kLd, sums);
    auto* const done = part;
    part = next;
    next = done;
  }
  __syncthreads();  // the next tile begins with the first part
}

/// The same as multiply_tile for operands that are rounded to `precision`.
template <class T, class A, class B, class Store>
__device__ inline void multiply_tile_on_tensor_cores(Precision precision, int64_t i0, int64_t j0, int64_t m, int64_t n,
                                                     int64_t k, const A& a, const B& b, Store&& store) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  const int row = warp / T::kWarpsAcross * T::kRowsOfWarp, column = warp % T::kWarpsAcross * T::kColumnsOfWarp;
  float sums[T::kDown][T::kAcross][4] = {};
  with_format(precision,
              [&](auto format) { sum_on_tensor_cores<T, decltype(format)>(i0, j0, m, n, k, a, b, row, column, sums); });
  ENGINE_UNROLL(4)
  for (int r = 0; r < T::kDown; ++r) {
    ENGINE_UNROLL(4)
    for (int c = 0; c < T::kAcross; ++c) {
      ENGINE_UNROLL(4)
      for (int e = 0; e < 4; ++e) {
        const int64_t i = i0 + row + r * kRowsOfMatrix + lane / 4 + e / 2 * (kRowsOfMatrix / 2);
        const int64_t j = j0 + column + c * kColumnsOfMatrix + lane % 4 * 2 + e % 2;
        if (i < m && j < n) store(i, j, sums[r][c][e]);
      }
    }
  }
}

/// The same as multiply_tile for the whole result, whose tiles the blocks of the grid take in turn. A tile of tensor
/// cores rounds the operands to `precision`.
template <class T, class A, class B, class Store>
__device__ inline void multiply(Precision precision, int64_t m, int64_t n, int64_t k, const A& a, const B& b,
                                Store&& store) {
  const int64_t tiles_across = (n + T::kN - 1) / T::kN, tiles = (m + T::kM - 1) / T::kM * tiles_across;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t i0 = tile / tiles_across * T::kM, j0 = tile % tiles_across * T::kN;
    if constexpr (T::kOnTensorCores) {
      multiply_tile_on_tensor_cores<T>(precision, i0, j0, m, n, k, a, b, store);
    } else {
      multiply_tile<T>(i0, j0, m, n, k, a, b, store);
    }
  }
}

}  // namespace engine::cuda
