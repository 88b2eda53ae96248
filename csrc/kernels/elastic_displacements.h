// Elastic distortion (Simard et al. 2003): a displacement for every pixel, made of uniform noise that is smoothed along
// both axes. Computed in integers of 16 bits, of which one instruction multiplies two per lane: half of the time of
// floats.
#pragma once
#include "kernels/random.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// The displacement of each pixel, in rows and in columns.
struct Fields {
  float* at;         // (2, rows, ld)
  int64_t size, ld;  // of one of them, of a row
};

ENGINE_INLINE vi load_words(const int32_t* p) {
  vi v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

ENGINE_INLINE void store_words(int32_t* p, vi v) { std::memcpy(p, &v, sizeof v); }

/// The sum of the products of both 16-bit halves of each lane.
ENGINE_INLINE vi multiply_halves(vi a, vi b) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  return reinterpret_cast<vi>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  return reinterpret_cast<vi>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<vi>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

/// Stores lanes whose numbers fit 16 bits.
ENGINE_INLINE void store_halves(int16_t* p, vi v) {
#if defined(__SSE2__) && ENGINE_VECTOR_BYTES == 64
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(v)));
#elif defined(__SSE2__) && ENGINE_VECTOR_BYTES == 32
  const __m256i all = reinterpret_cast<__m256i>(v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
#else
  for (int l = 0; l < kWidth; ++l) p[l] = static_cast<int16_t>(v[l]);
#endif
}

/// Sums of neighbours times the coefficients of the filter, for some rows of both fields, which share what is loaded.
using Smoothed = vi[2][kSmoothedRows];

/// Both fields smoothed along the columns only: (2, rows, ld), with a zero after each row.
struct HalfSmoothed {
  int16_t* at;
  int64_t size, ld;
};

/// to = noise smoothed along its columns, with zeros outside. `noise` (height + 1, width) holds the two fields in the
/// halves of a word, and zeros in its last row. Taps beyond the filter's ends are zero, so that all rows of a group can
/// read the same neighbours.
inline void smooth_columns(const WarpArgs& op, const int32_t* noise, const HalfSmoothed& to) {
  for (int64_t i = 0; i < op.height; i += kSmoothedRows) {
    const int64_t begin = i < op.radius ? 0 : i - op.radius, last = i + kSmoothedRows + op.radius;
    for (int64_t j = 0; j < op.width; j += kWidth) {
      Smoothed sums = {};
      for (int64_t t = begin; t < last && t < op.height; t += 2) {
        const vi a = load_words(noise + t * op.width + j), b = load_words(noise + (t + 1) * op.width + j);
        const vi down = (a & 0xffff) | (b << 16);
        const vi right = reinterpret_cast<vi>(reinterpret_cast<vu>(a) >> 16) | (b & static_cast<int32_t>(0xffff0000));
#pragma GCC unroll 4
        for (int r = 0; r < kSmoothedRows; ++r) {
          const vi coefficients = op.filter[i + r - t] - vi{};
          sums[0][r] += multiply_halves(down, coefficients);
          sums[1][r] += multiply_halves(right, coefficients);
        }
      }
      for (int f = 0; f < 2; ++f) {
#pragma GCC unroll 4
        for (int r = 0; r < kSmoothedRows; ++r) {
          int16_t* row = to.at + f * to.size + (i + r) * to.ld;
          store_halves(row + j, (sums[f][r] + kFilterSum / 2) >> kFilterBits);
          row[op.width] = 0;  // what follows is never read
        }
      }
    }
  }
}

/// to = scale (from smoothed along its rows). The lanes are neighbouring pixels, whose coefficients are neighbours too.
inline void smooth_rows(const WarpArgs& op, const HalfSmoothed& from, float scale, const Fields& to) {
  for (int64_t i = 0; i < op.height; i += kSmoothedRows) {
    for (int64_t j = 0; j < op.width; j += kWidth) {
      const int64_t begin = j < op.radius ? 0 : j - op.radius, last = j + kWidth + op.radius;
      Smoothed sums = {};
      for (int64_t t = begin; t < last && t < op.width; t += 2) {
        const vi coefficients = load_words(op.filter + j - t);
#pragma GCC unroll 2
        for (int f = 0; f < 2; ++f) {
#pragma GCC unroll 4
          for (int r = 0; r < kSmoothedRows; ++r) {
            int32_t both;
            std::memcpy(&both, from.at + f * from.size + (i + r) * from.ld + t, sizeof both);
            sums[f][r] += multiply_halves(both - vi{}, coefficients);
          }
        }
      }
#pragma GCC unroll 2
      for (int f = 0; f < 2; ++f) {
#pragma GCC unroll 4
        for (int r = 0; r < kSmoothedRows; ++r) {
          store(to.at + f * to.size + (i + r) * to.ld + j, __builtin_convertvector(sums[f][r], vf) * scale);
        }
      }
    }
  }
}

/// The displacements of an image's pixels. One random word gives the noise of both fields, 16 bits each; pixel p takes
/// the word of column p (formulas/random.h).
inline void displace(const WarpArgs& op, int64_t image, const Fields& fields) {
  const int64_t pixels = op.height * op.width, rows = round_up(op.height, kSmoothedRows);
  auto* noise = reinterpret_cast<int32_t*>(fields.at + 2 * fields.size);
  const int64_t ld = fields.ld + kLineFloats;
  const HalfSmoothed between{reinterpret_cast<int16_t*>(noise + warp_noise(op.height, op.width)), rows * ld, ld};
  for_random({{image, image + 1}, {0, round_up(pixels, kLineFloats)}, op.seed, op.step, op.first, false},
             [&](int64_t, int64_t pixel, vu words) { store_words(noise + pixel, reinterpret_cast<vi>(words)); });
  std::memset(noise + pixels, 0, static_cast<size_t>(op.width) * sizeof *noise);
  smooth_columns(op, noise, between);
  smooth_rows(op, between, op.alpha * 0x1p-15f / kFilterSum, fields);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
