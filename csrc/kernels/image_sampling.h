// Resampling of an image: each pixel of the result is read at a coordinate of the input, which lies between its pixels
// or outside of it. Bilinear, or the nearest pixel.
#pragma once
#include "formulas/image_transform.h"
#include "kernels/elastic_displacements.h"
#include "kernels/image_border.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

using Transform = formulas::ImageTransform;

/// Scratch for one row of the result: the index of the pixel that each is read at, and the weights of the neighbours
/// below and to the right.
struct RowScratch {
  float *pixel, *below, *behind;  // (round_up(width, kLineFloats),)
};

/// x[at]
ENGINE_INLINE vf gather_at(const float* x, vi at) {
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

/// Lanes 0, 2, 4, ... of a and b end to end, or 1, 3, 5, ...
template <int First>
struct EveryOther {
  static constexpr int at(int l) { return 2 * l + First; }
};

template <int... Lanes>
ENGINE_INLINE void pairs(const float* x, vi at, vf& first, vf& second, std::integer_sequence<int, Lanes...>) {
  int32_t index[kWidth];
  std::memcpy(index, &at, sizeof index);
  const auto pair = [&](int l) __attribute__((always_inline)) {
    uint64_t both;
    std::memcpy(&both, x + index[l], sizeof both);
    return both;
  };
  const vul low{pair(Lanes)...}, high{pair(kWidth / 2 + Lanes)...};
  first = mix<EveryOther<0>>(reinterpret_cast<vf>(low), reinterpret_cast<vf>(high));
  second = mix<EveryOther<1>>(reinterpret_cast<vf>(low), reinterpret_cast<vf>(high));
}

/// x[at] and x[at + 1]: both at once, which takes half of the loads.
ENGINE_INLINE void gather_pairs(const float* x, vi at, vf& first, vf& second) {
  pairs(x, at, first, second, std::make_integer_sequence<int, kWidth / 2>{});
}

/// Stores channel c of the pixels from p on, in an image of `size` pixels. n of them belong to the current row; lanes
/// beyond it may be written, as the next row overwrites them.
ENGINE_INLINE void store_pixels(float* y, vf v, int64_t p, int64_t n, int64_t size, int64_t channels, int64_t c) {
  if (channels == 1 && p + kWidth <= size) return store(y + p, v);
  float lanes[kWidth];
  store(lanes, v);
  for (int64_t l = 0; l < n && l < kWidth; ++l) y[(p + l) * channels + c] = lanes[l];
}

/// The coordinates, in rows and columns of the input, at which the pixels of one row of the result are read.
class SourceCoordinates {
 public:
  SourceCoordinates(const WarpArgs& op, const Transform& transform, const Fields& fields, int64_t i)
      : transform_(transform),
        fields_(fields),
        first_(i * fields.ld),
        last_(static_cast<int32_t>(op.width - 1)),
        displaced_(op.radius >= 0),
        centre_(0.5f * static_cast<float>(op.width - 1)) {
    const float middle = 0.5f * static_cast<float>(op.height - 1);
    const float v = (static_cast<float>(i) - middle) * transform.tall - transform.down;
    row_ = transform.cosine * v + middle;
    column_ = centre_ - transform.sine * v;
  }

  /// Of the pixels from column j on. Lanes beyond the last column repeat it.
  ENGINE_INLINE void at(int64_t j, vf& row, vf& column) const {
    const vi lane = iota(static_cast<int32_t>(j)), pixel = lane < last_ ? lane : last_ - vi{};
    const vf u = (__builtin_convertvector(pixel, vf) - centre_) * transform_.wide - transform_.right;
    row = transform_.sine * u + row_;
    column = transform_.cosine * u + column_;
    if (!displaced_) return;
    row += load(fields_.at + first_ + j);
    column += load(fields_.at + fields_.size + first_ + j);
  }

 private:
  const Transform& transform_;
  const Fields& fields_;
  const int64_t first_;
  const int32_t last_;
  const bool displaced_;
  const float centre_;
  float row_, column_;  // where u is 0
};

ENGINE_INLINE vf interpolated(vf a, vf b, vf share) { return a + share * (b - a); }

/// Fills `row` for one row of the result, with indices into the plane of a bordered image. Returns false, and leaves no
/// usable numbers, if a pixel is read beyond the border.
inline bool find_in_border(const WarpArgs& op, const SourceCoordinates& sources, const BorderedImage& image,
                           const RowScratch& row) {
  const vf half = broadcast(op.nearest ? 0.5f : 0.0f), between = broadcast(op.nearest ? 0.0f : 1.0f);
  vi too_far{};
  for (int64_t j = 0; j < op.width; j += kWidth) {
    vf down, right;
    sources.at(j, down, right);
    // Coordinates that are too far for an integer become indices that are beyond the border as well.
    const vi r = floored(down + half), c = floored(right + half);
    const vi i = r + static_cast<int32_t>(image.above), k = c + static_cast<int32_t>(image.before);
    too_far |= image.beyond(i, k);
    store(row.pixel + j, from_bits(i * static_cast<int32_t>(image.ld) + k));
    store(row.below + j, (down - __builtin_convertvector(r, vf)) * between);
    store(row.behind + j, (right - __builtin_convertvector(c, vf)) * between);
  }
  return lane_bits(too_far) == 0;
}

/// One row of the result that reads some pixels beyond the border: each neighbour is looked up on its own.
inline void sample_row_beyond_border(const WarpArgs& op, const SourceCoordinates& sources, const BorderedImage& image,
                                     const float* x, float* y, int64_t i) {
  const auto width = static_cast<int32_t>(op.width), channels = static_cast<int32_t>(op.channels);
  for (int64_t j = 0; j < op.width; j += kWidth) {
    vf row, column;
    sources.at(j, row, column);
    const Neighbours down = image.rows.between(row), right = image.columns.between(column);
    for (int32_t c = 0; c < channels; ++c) {
      const auto read = [&](vi r, vi k) {
        const vi nowhere = (r >= image.rows.n) | (k >= image.columns.n);
        const vf v = gather_at(x, nowhere ? vi{} : (r * width + k) * channels + c);
        return nowhere ? broadcast(op.fill_value) : v;
      };
      const vf above = interpolated(read(down.first, right.first), read(down.first, right.second), right.weight);
      const vf below = interpolated(read(down.second, right.first), read(down.second, right.second), right.weight);
      const vf pixels = interpolated(above, below, down.weight);
      store_pixels(y, pixels, i * op.width + j, op.width - j, op.height * op.width, op.channels, c);
    }
  }
}

/// The general case: any affine map, and displacements where there are any.
inline void sample_pixels(const WarpArgs& op, const Transform& transform, const BorderedImage& image,
                          const Fields& fields, const RowScratch& row, const float* x, float* y) {
  image.fill(x);
  for (int64_t i = 0; i < op.height; ++i) {
    const SourceCoordinates sources(op, transform, fields, i);
    if (!find_in_border(op, sources, image, row)) {
      sample_row_beyond_border(op, sources, image, x, y, i);
      continue;
    }
    for (int64_t c = 0; c < op.channels; ++c) {
      const float* plane = image.plane(c);
      for (int64_t j = 0; j < op.width; j += kWidth) {
        const vi pixel = bits(load(row.pixel + j));
        const vf behind = load(row.behind + j);
        vf p00, p01, p10, p11;
        gather_pairs(plane, pixel, p00, p01);
        gather_pairs(plane + image.ld, pixel, p10, p11);
        const vf pixels =
            interpolated(interpolated(p00, p01, behind), interpolated(p10, p11, behind), load(row.below + j));
        store_pixels(y, pixels, i * op.width + j, op.width - j, op.height * op.width, op.channels, c);
      }
    }
  }
}

/// Whether the first n lanes are consecutive numbers.
ENGINE_INLINE bool consecutive(vi at, int64_t n) {
  const vi wrong = at != iota(at[0]);
  return lane_bits(wrong & (iota(0) < static_cast<int32_t>(n < kWidth ? n : kWidth) - vi{})) == 0;
}

/// The case without rotation: all pixels of a row are read between the same two rows, and all pixels of a column
/// between the same two columns. `neighbours` holds these columns and their weights. The two rows are interpolated
/// once, to `between`, which is followed by one pixel of the fill value for columns outside of the image.
inline void sample_rows(const WarpArgs& op, const Transform& transform, const BorderedImage& image,
                        const RowScratch& neighbours, const float* x, float* y) {
  const int64_t n = op.width * op.channels;
  const float middle = 0.5f * static_cast<float>(op.height - 1), centre = 0.5f * static_cast<float>(op.width - 1);
  const Axis &rows = image.rows, &columns = image.columns;
  const auto channels = static_cast<int32_t>(op.channels);
  float *first = neighbours.pixel, *second = neighbours.below, *weight = neighbours.behind, *between = op.scratch;
  for (int64_t j = 0; j < op.width; j += kWidth) {
    const vf u =
        (__builtin_convertvector(iota(static_cast<int32_t>(j)), vf) - centre) * transform.wide - transform.right;
    const Neighbours right = columns.between(transform.cosine * u + centre);
    store(first + j, from_bits(right.first * channels));
    store(second + j, from_bits(right.second * channels));
    store(weight + j, right.weight);
  }
  for (int64_t i = 0; i < op.height; ++i) {
    const float v = (static_cast<float>(i) - middle) * transform.tall - transform.down;
    const Neighbours down = rows.between(broadcast(transform.cosine * v + middle));
    const float low = down.weight[0], high = 1.0f - low;
    const int64_t above = down.first[0], below = down.second[0];
    const float *from = x + above * n, *to = x + below * n;
    const bool has_above = above < op.height, has_below = below < op.height;
    cover(
        n,
        [&](int64_t k) {
          const vf a = has_above ? load(from + k) : broadcast(op.fill_value);
          const vf b = has_below ? load(to + k) : broadcast(op.fill_value);
          store(between + k, high * a + low * b);
        },
        [&](int64_t k) {
          between[k] = high * (has_above ? from[k] : op.fill_value) + low * (has_below ? to[k] : op.fill_value);
        });
    for (int64_t k = n; k < n + channels; ++k) between[k] = op.fill_value;
    for (int64_t j = 0; j < op.width; j += kWidth) {
      const vi left = bits(load(first + j)), right = bits(load(second + j));
      const vf share = load(weight + j);
      const int64_t count = op.width - j;
      const bool loads = channels == 1 && consecutive(left, count) && consecutive(right, count);
      for (int32_t c = 0; c < channels; ++c) {
        const vf a = loads ? load(between + left[0]) : gather_at(between + c, left);
        const vf b = loads ? load(between + right[0]) : gather_at(between + c, right);
        store_pixels(y, (1.0f - share) * a + share * b, i * op.width + j, count, op.height * op.width, channels, c);
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
