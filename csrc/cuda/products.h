// Products of matrices, by tiles: each block computes tiles of the result from parts of both operands, which its
// threads bring into shared memory. The terms of a sum are added in order, by one fma each, so that the bits depend
// neither on the tile nor on the number of blocks.
#pragma once
#include "cuda/kernel.h"

namespace engine::cuda {

/// The tile (M, N) of a result, of which K terms at a time lie in shared memory. Each thread has TM x TN of its sums.
template <int M, int N, int K, int TM, int TN>
struct Tile {
  static constexpr int kM = M, kN = N, kK = K, kTM = TM, kTN = TN;
  static constexpr int kLdA = M + 1, kLdB = N + 1;  // one more, since threads write down a column at the same time
  static constexpr int64_t kSharedBytes = K * (kLdA + kLdB) * static_cast<int64_t>(sizeof(float));
  static_assert(M / TM * (N / TN) == kThreads);
};
using SmallTile = Tile<32, 32, 32, 2, 2>;
using LargeTile = Tile<128, 128, 8, 8, 8>;

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

/// The same for the whole result, whose tiles the blocks of the grid take in turn.
template <class T, class A, class B, class Store>
__device__ inline void multiply(int64_t m, int64_t n, int64_t k, const A& a, const B& b, Store&& store) {
  const int64_t tiles_across = (n + T::kN - 1) / T::kN, tiles = (m + T::kM - 1) / T::kM * tiles_across;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    multiply_tile<T>(tile / tiles_across * T::kM, tile % tiles_across * T::kN, m, n, k, a, b, store);
  }
}

}  // namespace engine::cuda
