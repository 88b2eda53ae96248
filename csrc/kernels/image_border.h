// What an image is continued by outside of its edges: a constant, its edge, its mirror image or itself again. A copy of
// the image with such a border is made first, so that most reads need no check.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// The integer part, rounded towards minus infinity, of coordinates that are far within the limits of int32.
ENGINE_INLINE vi floored(vf x) {
  const vi i = __builtin_convertvector(x, vi);
  return i + (__builtin_convertvector(i, vf) > x);
}

/// The integer part of coordinates, and the fraction, which is the weight of the next neighbour.
struct Floored {
  vi whole;
  vf rest;

  ENGINE_INLINE Floored(vf x, bool nearest) {
    const vf far = broadcast(1e6f);
    x = x < -far ? -far : x > far ? far : x;
    whole = floored(nearest ? x + 0.5f : x);
    rest = nearest ? vf{} : x - __builtin_convertvector(whole, vf);
  }
};

/// The two neighbours along one axis, and the weight of the second.
struct Neighbours {
  vi first, second;
  vf weight;
};

/// One axis of an image.
struct Axis {
  int32_t n;
  Fill fill;
  bool nearest;

  Axis(int64_t n, const WarpArgs& op) : n(static_cast<int32_t>(n)), fill(op.fill), nearest(op.nearest) {}

  ENGINE_INLINE vi outside(vi i) const { return (i < 0) | (i >= n); }

  /// The index within the image that stands for index i; n where there is none, but the fill value.
  ENGINE_INLINE vi index_of(vi i) const {
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

  ENGINE_INLINE Neighbours between(vf x) const {
    const Floored at(x, nearest);
    return {index_of(at.whole), index_of(at.whole + 1), at.rest};
  }
};

/// Calls vectors(k) for whole vectors that cover n numbers, of which the last may overlap the one before. Calls
/// single(k) for each number where n is less than a vector.
template <class Vectors, class Single>
ENGINE_INLINE void cover(int64_t n, Vectors&& vectors, Single&& single) {
  if (n < kWidth) {
    for (int64_t k = 0; k < n; ++k) single(k);
    return;
  }
  for (int64_t k = 0; k + kWidth < n; k += kWidth) vectors(k);
  vectors(n - kWidth);
}

/// A copy of an image with its border, channel by channel.
class BorderedImage {
 public:
  explicit BorderedImage(const WarpArgs& op)
      : rows(op.height, op),
        columns(op.width, op),
        above(warp_margin(op.height)),
        before(warp_margin(op.width)),
        ld(round_up(op.width + 2 * before, kLineFloats)),
        at_(op.scratch),
        op_(op),
        plane_(warp_frame(op.height, op.width)),
        border_columns_(reinterpret_cast<int32_t*>(op.scratch + op.channels * plane_)) {
    for (int64_t b = 0; b < before; ++b) {
      border_columns_[b] = columns.index_of(static_cast<int32_t>(b - before) - vi{})[0];
      border_columns_[before + b] = columns.index_of(static_cast<int32_t>(op.width + b) - vi{})[0];
    }
  }

  void fill(const float* x) const {
    for (int64_t c = 0; c < op_.channels; ++c) {
      float* plane = at_ + c * plane_;
      for (int64_t i = 0; i < op_.height; ++i) fill_row(plane + (above + i) * ld, x + i * op_.width * op_.channels + c);
      for (int64_t b = 0; b < above; ++b) {
        fill_outside(plane, b - above);
        fill_outside(plane, op_.height + b);
      }
    }
  }

  const float* plane(int64_t c) const { return at_ + c * plane_; }

  /// Whether a pixel, counted from the corner of the border, or its neighbour below or to the right lies beyond it.
  ENGINE_INLINE vi beyond(vi row, vi column) const {
    return (row < 0) | (row > static_cast<int32_t>(op_.height + 2 * above - 2)) | (column < 0) |
           (column > static_cast<int32_t>(op_.width + 2 * before - 2));
  }

  const Axis rows, columns;
  const int64_t above, before;  // pixels
  const int64_t ld;

 private:
  void fill_row(float* to, const float* from) const {
    const int64_t width = op_.width, channels = op_.channels;
    float* inside = to + before;
    const auto copy = [&](int64_t j) { inside[j] = from[j * channels]; };
    if (channels == 1) {
      cover(width, [&](int64_t j) { store(inside + j, load(from + j)); }, copy);
    } else {
      for (int64_t j = 0; j < width; ++j) copy(j);
    }
    const auto read = [&](int32_t j) { return j < width ? from[j * channels] : op_.fill_value; };
    for (int64_t b = 0; b < before; ++b) {
      to[b] = read(border_columns_[b]);
      inside[width + b] = read(border_columns_[before + b]);
    }
  }

  void fill_outside(float* plane, int64_t i) const {
    const int64_t from = rows.index_of(static_cast<int32_t>(i) - vi{})[0];
    for (int64_t j = 0; j < ld; j += kWidth) {
      const vf row = from < op_.height ? load(plane + (above + from) * ld + j) : broadcast(op_.fill_value);
      store(plane + (above + i) * ld + j, row);
    }
  }

  float* at_;  // (channels, height + 2 above, ld)
  const WarpArgs& op_;
  const int64_t plane_;
  int32_t* border_columns_;  // columns of the image that the border left and right of a row repeats
};

}  // namespace
}  // namespace engine::ENGINE_ISA
