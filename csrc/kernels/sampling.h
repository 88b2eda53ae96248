// Reads images between their pixels, and around their edges.
#pragma once
#include "kernels/layer_table.h"
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

/// Where the pixels of an image come from, before displacements: moved, zoomed about the middle, then turned.
struct View {
  float down, right;  // pixels
  float sine, cosine;
  float tall, wide;  // negative: turned over, mirrored
};

/// Whole part, towards minus infinity, of coordinates that are nowhere near the limits.
ENGINE_INLINE vi floored(vf x) {
  const vi i = __builtin_convertvector(x, vi);
  return i + (__builtin_convertvector(i, vf) > x);
}

/// Neighbours along one axis; the weight of the second.
struct Between {
  vi first, second;
  vf weight;
};

/// One axis of an image.
struct Axis {
  int32_t n;
  Fill fill;
  bool nearest;

  Axis(int64_t n, const Warp& op) : n(static_cast<int32_t>(n)), fill(op.fill), nearest(op.nearest) {}

  ENGINE_INLINE vi outside(vi i) const { return (i < 0) | (i >= n); }

  /// Where coordinates are read; n: nowhere.
  ENGINE_INLINE vi place(vi i) const {
    if (lane_bits(outside(i)) == 0) return i;
    const vi none = vi{};
    if (fill == Fill::kConstant) return outside(i) ? n - none : i;
    if (fill == Fill::kNearest) return i < 0 ? none : i >= n ? n - 1 - none : i;
    const int32_t period = fill == Fill::kWrap ? n : 2 * n;
    const vf turns = __builtin_convertvector(i, vf) * broadcast(1.0f / static_cast<float>(period));
    vi at = i - floored(turns) * period;  // turns may be rounded to the other side of a whole number
    at = at < 0 ? at + period : at >= period ? at - period : at;
    return at < n ? at : 2 * n - 1 - at;
  }

  ENGINE_INLINE Between between(vf x) const {
    const vf far = broadcast(1e6f);
    x = x < -far ? -far : x > far ? far : x;
    if (nearest) {
      const vi at = place(floored(x + 0.5f));
      return {at, at, vf{}};
    }
    const vi i = floored(x);
    return {place(i), place(i + 1), x - __builtin_convertvector(i, vf)};
  }
};

/// x[at]
ENGINE_INLINE vf gathered(const float* x, vi at) {
#if defined(__AVX512F__) && ENGINE_VECTOR_BYTES == 64
  return reinterpret_cast<vf>(_mm512_i32gather_ps(reinterpret_cast<__m512i>(at), x, 4));
#elif defined(__AVX2__) && ENGINE_VECTOR_BYTES == 32
  return reinterpret_cast<vf>(_mm256_i32gather_ps(x, reinterpret_cast<__m256i>(at), 4));
#else
  vf v;
  for (int l = 0; l < kWidth; ++l) v[l] = x[at[l]];
  return v;
#endif
}

/// Channel c of the pixels from p on of an image of `size`, n of which belong to the row that comes last so far: the
/// others are written again later.
ENGINE_INLINE void store_pixels(float* y, vf v, int64_t p, int64_t n, int64_t size, int64_t channels, int64_t c) {
  if (channels == 1 && p + kWidth <= size) return store(y + p, v);
  float lanes[kWidth];
  store(lanes, v);
  for (int64_t l = 0; l < n && l < kWidth; ++l) y[(p + l) * channels + c] = lanes[l];
}

/// Any view, with displacements where there are taps.
inline void sample_pixels(const Warp& op, const View& view, const float* x, float* y) {
  const int64_t size = op.height * op.width;
  const float middle = 0.5f * static_cast<float>(op.height - 1), centre = 0.5f * static_cast<float>(op.width - 1);
  const Axis rows(op.height, op), columns(op.width, op);
  const auto width = static_cast<int32_t>(op.width), channels = static_cast<int32_t>(op.channels);
  const auto read = [&](vi row, vi column, int32_t c) {
    const vi nowhere = (row >= rows.n) | (column >= columns.n);
    const vf v = gathered(x, nowhere ? vi{} : (row * width + column) * channels + c);
    return nowhere ? broadcast(op.fill_value) : v;
  };
  for (int64_t i = 0; i < op.height; ++i) {
    const float v = (static_cast<float>(i) - middle) * view.tall - view.down;
    for (int64_t j = 0; j < op.width; j += kWidth) {
      const int64_t p = i * op.width + j;
      const vf at = __builtin_convertvector(iota(static_cast<int32_t>(j)), vf);
      const vf u = (at - centre) * view.wide - view.right;
      vf row = view.sine * u + view.cosine * v + middle, column = view.cosine * u - view.sine * v + centre;
      if (op.tap_count > 0) {
        row += load(op.scratch + p);
        column += load(op.scratch + warp_field(op.height, op.width) + p);
      }
      const Between down = rows.between(row), right = columns.between(column);
      const vf w00 = (1.0f - down.weight) * (1.0f - right.weight), w01 = (1.0f - down.weight) * right.weight;
      const vf w10 = down.weight * (1.0f - right.weight), w11 = down.weight * right.weight;
      for (int32_t c = 0; c < channels; ++c) {
        const vf sum = w00 * read(down.first, right.first, c) + w01 * read(down.first, right.second, c) +
                       w10 * read(down.second, right.first, c) + w11 * read(down.second, right.second, c);
        store_pixels(y, sum, p, op.width - j, size, op.channels, c);
      }
    }
  }
}

/// Whether the first n lanes follow each other.
ENGINE_INLINE bool consecutive(vi at, int64_t n) {
  const vi wrong = at != iota(at[0]);
  return lane_bits(wrong & (iota(0) < static_cast<int32_t>(n < kWidth ? n : kWidth) - vi{})) == 0;
}

/// Views without turns: all pixels of a row lie between the same two rows, and those of a column between the same two
/// columns. Scratch: the row between, with a pixel from nowhere at its end, and the columns' neighbours and weights.
inline void sample_rows(const Warp& op, const View& view, const float* x, float* y) {
  const int64_t n = op.width * op.channels, ld = round_up(op.width, kLane);
  const float middle = 0.5f * static_cast<float>(op.height - 1), centre = 0.5f * static_cast<float>(op.width - 1);
  const Axis rows(op.height, op), columns(op.width, op);
  const auto channels = static_cast<int32_t>(op.channels);
  float *first = op.scratch, *second = first + ld, *weight = second + ld, *between = weight + ld;
  for (int64_t j = 0; j < op.width; j += kWidth) {
    const vf u = (__builtin_convertvector(iota(static_cast<int32_t>(j)), vf) - centre) * view.wide - view.right;
    const Between right = columns.between(view.cosine * u + centre);
    store(first + j, from_bits(right.first * channels));
    store(second + j, from_bits(right.second * channels));
    store(weight + j, right.weight);
  }
  for (int64_t i = 0; i < op.height; ++i) {
    const float v = (static_cast<float>(i) - middle) * view.tall - view.down;
    const Between down = rows.between(broadcast(view.cosine * v + middle));
    const float low = down.weight[0], high = 1.0f - low;
    const int64_t above = down.first[0], below = down.second[0];
    const float *from = x + above * n, *to = x + below * n;
    if (above < op.height && below < op.height) {
      for (int64_t k = 0; k < n; ++k) between[k] = high * from[k] + low * to[k];
    } else {
      for (int64_t k = 0; k < n; ++k) {
        between[k] =
            high * (above < op.height ? from[k] : op.fill_value) + low * (below < op.height ? to[k] : op.fill_value);
      }
    }
    for (int64_t k = n; k < n + channels; ++k) between[k] = op.fill_value;
    for (int64_t j = 0; j < op.width; j += kWidth) {
      const vi left = bits(load(first + j)), right = bits(load(second + j));
      const vf share = load(weight + j);
      const int64_t count = op.width - j;
      const bool loads = channels == 1 && consecutive(left, count) && consecutive(right, count);
      for (int32_t c = 0; c < channels; ++c) {
        const vf a = loads ? load(between + left[0]) : gathered(between + c, left);
        const vf b = loads ? load(between + right[0]) : gathered(between + c, right);
        store_pixels(y, (1.0f - share) * a + share * b, i * op.width + j, count, op.height * op.width, channels, c);
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
