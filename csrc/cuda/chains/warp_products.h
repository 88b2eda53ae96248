// The two products with the inputs of a layer that one warp computes: sums of 32 rows for 8 units, and the gradient of
// 8 quads of inputs by 8 units. Inputs are rows in shared memory, of floats or of uint8.
#pragma once
#include "cuda/chains/network.h"
#include "cuda/chains/split_floats.h"

namespace engine::cuda::chains {

__device__ inline int thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int lane() { return thread() % kWarp; }
__device__ inline int warp() { return thread() / kWarp; }

__device__ inline float4& quad_at(float* numbers) { return *reinterpret_cast<float4*>(numbers); }
__device__ inline float4 quad_at(const float* numbers) { return *reinterpret_cast<const float4*>(numbers); }

/// The order in which the quads of a layer's inputs are added, and how many of them are not all zeros.
struct QuadOrder {
  const uint16_t* order;  // null: as they lie
  int live, all;
  __device__ int operator[](int i) const { return order ? order[i] : i; }
};

/// Of the gradient of 8 quads by 8 columns, a thread has that of quad lane / 4 by columns 2 (lane % 4) and the next
/// one.
inline constexpr int kQuadsOfWarp = 8, kThreadsOfQuad = kWarp / kQuadsOfWarp;
struct GradientOfThread {
  float4 columns[2];
};

// ---- Inputs that are floats -----------------------------------------------------------------------------------------

// Cards of data centres multiply split floats on tensor cores. Others do that more slowly than by fma.

struct FloatRows {
  static constexpr int kQuadsTogether = 2;  // ranges of the sums are multiples of these
  const float* data;
  int ld;
  bool on_tensor_cores;
  __device__ float4 quad(int b, int q) const { return quad_at(data + b * ld + q * kQuad); }
};

/// A matrix instruction sums over 8 numbers of each row, as in tensor_cores.h: a lane has numbers 2t and 2t + 1 of
/// them.
inline constexpr int kSummedTogether = 8, kPair = 2;
__device__ inline float2 pair_at(const float* numbers) { return *reinterpret_cast<const float2*>(numbers); }

/// Sums of 32 rows for 8 columns on tensor cores: two tiles of 16 rows.
struct TileSums {
  SplitSum tiles[2];

  /// Adds the products of the rows from `first` on, of which there are `rows`, with a column: pair_of(b) are numbers 2t
  /// and 2t + 1 of row b.
  template <class PairOf>
  __device__ void add(int first, int rows, const PairOf& pair_of, const float (&column)[2]) {
    const SplitFloats<2> right(column);
    ENGINE_UNROLL(2)
    for (int tile = 0; tile < 2; ++tile) {
      const int b = first + tile * kRowsOfMatrix + lane() / 4;
      const float2 upper = pair_of(smaller(b, rows - 1)), lower = pair_of(smaller(b + kRowsOfMatrix / 2, rows - 1));
      tiles[tile].add(SplitFloats<4>({upper.x, lower.x, upper.y, lower.y}), right);
    }
  }
  /// Calls f(b, n, the sums of row b for columns n and n + 1) for this lane's rows and columns.
  template <class F>
  __device__ void for_pairs(int first, int rows, F&& f) const {
    ENGINE_UNROLL(2)
    for (int tile = 0; tile < 2; ++tile) {
      ENGINE_UNROLL(2)
      for (int half = 0; half < 2; ++half) {
        const int b = first + tile * kRowsOfMatrix + half * kRowsOfMatrix / 2 + lane() / 4;
        if (b < rows) f(b, lane() % 4 * kPair, float2{tiles[tile][2 * half], tiles[tile][2 * half + 1]});
      }
    }
  }
};

/// The same by fma: a lane has a row.
struct LaneSums {
  float columns[kColumns] = {};

  template <class F>
  __device__ void for_pairs(int first, int rows, F&& f) const {
    const int b = first + lane();
    ENGINE_UNROLL(4)
    for (int n = 0; n < kColumns; n += kPair) {
      if (b < rows) f(b, n, float2{columns[n], columns[n + 1]});
    }
  }
};

/// sum + the four products of a and b, in order.
__device__ inline float plus_products(float sum, const float4& a, const float4& b) {
  return formulas::fma(a.w, b.w, formulas::fma(a.z, b.z, formulas::fma(a.y, b.y, formulas::fma(a.x, b.x, sum))));
}
/// sums += a b, one fma for each of the four.
__device__ inline void add_products(float* sums, const float4& a, float b) {
  sums[0] = formulas::fma(a.x, b, sums[0]);
  sums[1] = formulas::fma(a.y, b, sums[1]);
  sums[2] = formulas::fma(a.z, b, sums[2]);
  sums[3] = formulas::fma(a.w, b, sums[3]);
}

__device__ inline TileSums sum_on_tensor_cores(const FloatRows& x, const QuadOrder& order, int begin, int end,
                                               const float* kernel, int first, int rows) {
  const int g = lane() / 4, t = lane() % 4, of_quad = t % 2 * kPair;
  TileSums sums;
  ENGINE_UNROLL(1)
  for (int i = begin; i < end; i += FloatRows::kQuadsTogether) {
    const bool is_quad = i + t / 2 < end;
    const int q = order[is_quad ? i + t / 2 : begin];
    const float2 zeros = {}, w = is_quad ? pair_at(kernel + q * kQuadStride + g * kQuad + of_quad) : zeros;
    sums.add(first, rows, [&](int b) { return pair_at(x.data + b * x.ld + q * kQuad + of_quad); }, {w.x, w.y});
  }
  return sums;
}

__device__ inline LaneSums sum_by_fma(const FloatRows& x, const QuadOrder& order, int begin, int end,
                                      const float* kernel, int first, int rows) {
  const int row = smaller(first + lane(), rows - 1);
  LaneSums sums;
  ENGINE_UNROLL(1)
  for (int i = begin; i < end; ++i) {
    const int q = order[i];
    const float4 four = x.quad(row, q);
    const float* const weights = kernel + q * kQuadStride;
    ENGINE_UNROLL(8)
    for (int n = 0; n < kColumns; ++n) {
      sums.columns[n] = plus_products(sums.columns[n], four, quad_at(weights + n * kQuad));
    }
  }
  return sums;
}

/// sums_of(b)[n] = the products of rows `first` to `first + 32` with 8 columns, over quads `begin` to `end`.
template <class SumsOf>
__device__ inline void sum_products(const FloatRows& x, const QuadOrder& order, int begin, int end, const float* kernel,
                                    int first, int rows, const SumsOf& sums_of) {
  const auto store = [&](int b, int n, const float2& pair) { *reinterpret_cast<float2*>(sums_of(b) + n) = pair; };
  if (x.on_tensor_cores) {
    sum_on_tensor_cores(x, order, begin, end, kernel, first, rows).for_pairs(first, rows, store);
  } else {
    sum_by_fma(x, order, begin, end, kernel, first, rows).for_pairs(first, rows, store);
  }
}

/// On tensor cores, rows of the batch are what the matrix instruction sums over. Of its two results the first has the
/// gradient of numbers 0 and 1 of each quad, the second that of numbers 2 and 3.
__device__ inline GradientOfThread gradient_on_tensor_cores(const FloatRows& x, int q, const float* dz, int ld_dz,
                                                            int rows, int end) {
  const int g = lane() / 4, t = lane() % 4;
  SplitSum tiles[2];
  ENGINE_UNROLL(1)
  for (int b = t; b - t < end; b += kSummedTogether) {
    // Behind the last row the slopes are zeros.
    const float4 upper = x.quad(smaller(b, rows - 1), q), lower = x.quad(smaller(b + 4, rows - 1), q);
    const SplitFloats<2> slopes({dz[b * ld_dz + g], dz[(b + 4) * ld_dz + g]});
    tiles[0].add(SplitFloats<4>({upper.x, upper.y, lower.x, lower.y}), slopes);
    tiles[1].add(SplitFloats<4>({upper.z, upper.w, lower.z, lower.w}), slopes);
  }
  GradientOfThread gradient;
  ENGINE_UNROLL(2)
  for (int n = 0; n < 2; ++n) {
    gradient.columns[n] = {tiles[0][n], tiles[0][2 + n], tiles[1][n], tiles[1][2 + n]};
  }
  return gradient;
}

__device__ inline GradientOfThread gradient_by_fma(const FloatRows& x, int q, const float* dz, int ld_dz, int end) {
  const float* const own = dz + lane() % kThreadsOfQuad * kPair;
  float sums[2][kQuad] = {};
  ENGINE_UNROLL(2)
  for (int b = 0; b < end; ++b) {
    const float4 four = x.quad(b, q);
    const float2 slopes = pair_at(own + b * ld_dz);
    add_products(sums[0], four, slopes.x);
    add_products(sums[1], four, slopes.y);
  }
  return {{{sums[0][0], sums[0][1], sums[0][2], sums[0][3]}, {sums[1][0], sums[1][1], sums[1][2], sums[1][3]}}};
}

/// The sums over all rows of x[b,q] dz[b,n].
__device__ inline GradientOfThread sum_gradient(const FloatRows& x, int q, bool is_live, const float* dz, int ld_dz,
                                                int rows) {
  // Quads that are live come first, so that all are zero where the first of the warp is.
  const int end = __shfl_sync(0xffffffffu, is_live ? rows : 0, 0);
  return x.on_tensor_cores ? gradient_on_tensor_cores(x, q, dz, ld_dz, rows, end)
                           : gradient_by_fma(x, q, dz, ld_dz, end);
}

// ---- Inputs that are uint8 and a scale ------------------------------------------------------------------------------

/// Tensor cores multiply the bytes as they are; `scale` comes to the sums.
struct ByteRows {
  static constexpr int kQuadsTogether = 4;  // a matrix instruction takes 16 inputs
  const uint8_t* data;
  int ld;
  float scale;
  __device__ uint32_t quad(int b, int q) const { return *reinterpret_cast<const uint32_t*>(data + b * ld + q * kQuad); }
};

/// The same for bytes. The matrix instruction multiplies 16 rows with four quads, of which each lane of four has one.
template <class SumsOf>
__device__ inline void sum_products(const ByteRows& x, const QuadOrder& order, int begin, int end, const float* kernel,
                                    int first, int rows, const SumsOf& sums_of) {
  constexpr int kTiles = 2, kRows = 16;  // 32 rows
  const int g = lane() / 4, t = lane() % 4;
  float tiles[kTiles][4] = {};
  for (int i = begin; i < end; i += ByteRows::kQuadsTogether) {
    const bool is_quad = i + t < end;
    const int q = order[is_quad ? i + t : begin];
    const float4 zeros = {}, w = is_quad ? quad_at(kernel + q * kQuadStride + g * kQuad) : zeros;
    const SplitPair upper(w.x, w.y), lower(w.z, w.w);
    ENGINE_UNROLL(2)
    for (int tile = 0; tile < kTiles; ++tile) {
      const int b = first + tile * kRows + g;
      const uint32_t top = x.quad(smaller(b, rows - 1), q), bottom = x.quad(smaller(b + kRows / 2, rows - 1), q);
      multiply_add(tiles[tile],
                   {pair_of_bytes(top, top, 0, 1), pair_of_bytes(bottom, bottom, 0, 1), pair_of_bytes(top, top, 2, 3),
                    pair_of_bytes(bottom, bottom, 2, 3)},
                   upper, lower);
    }
  }
  ENGINE_UNROLL(2)
  for (int tile = 0; tile < kTiles; ++tile) {
    ENGINE_UNROLL(2)
    for (int half = 0; half < 2; ++half) {
      const int b = first + tile * kRows + half * kRows / 2 + g;
      if (b >= rows) continue;
      *reinterpret_cast<float2*>(sums_of(b) + 2 * t) = {tiles[tile][2 * half] * x.scale,
                                                        tiles[tile][2 * half + 1] * x.scale};
    }
  }
}

/// The same for bytes. Rows of the batch are what the matrix instruction sums over, 16 at a time, of which a lane has
/// every fourth one, so that the slopes which the lanes of a warp read lie in different banks. Of its two results the
/// first has the gradient of numbers 0 and 1 of each quad, the second that of numbers 2 and 3.
__device__ inline GradientOfThread sum_gradient(const ByteRows& x, int q, bool is_live, const float* dz, int ld_dz,
                                                int rows) {
  constexpr int kRows = 16, kRowsOfLane = 4, kStep = kRows / kRowsOfLane;
  const int g = lane() / 4, t = lane() % 4;
  float tiles[2][4] = {};
  // Quads that are live come first, so that all are zero where the first of the warp is.
  const int end = __shfl_sync(0xffffffffu, is_live ? rows : 0, 0);
  const uint8_t* bytes = x.data + t * x.ld + q * kQuad;
  const float* slope = dz + t * ld_dz + g;
  for (int first = 0; first < end; first += kRows, bytes += kRows * x.ld, slope += kRows * ld_dz) {
    // Behind the last row the slopes are zeros, whatever the bytes are.
    uint32_t words[kRowsOfLane];
    float slopes[kRowsOfLane];
    ENGINE_UNROLL(4)
    for (int j = 0; j < kRowsOfLane; ++j) {
      words[j] = *reinterpret_cast<const uint32_t*>(bytes + j * kStep * x.ld);
      slopes[j] = slope[j * kStep * ld_dz];
    }
    const SplitPair upper(slopes[0], slopes[1]), lower(slopes[2], slopes[3]);
    ENGINE_UNROLL(2)
    for (int tile = 0; tile < 2; ++tile) {
      const int byte = 2 * tile;
      multiply_add(
          tiles[tile],
          {pair_of_bytes(words[0], words[1], byte, byte), pair_of_bytes(words[0], words[1], byte + 1, byte + 1),
           pair_of_bytes(words[2], words[3], byte, byte), pair_of_bytes(words[2], words[3], byte + 1, byte + 1)},
          upper, lower);
    }
  }
  GradientOfThread gradient;
  ENGINE_UNROLL(2)
  for (int c = 0; c < 2; ++c) {
    gradient.columns[c] = {tiles[0][c] * x.scale, tiles[0][2 + c] * x.scale, tiles[1][c] * x.scale,
                           tiles[1][2 + c] * x.scale};
  }
  return gradient;
}

}  // namespace engine::cuda::chains
