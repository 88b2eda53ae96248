// The part of the door that belongs to layers which are no products; apart, since these are many and change often.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine {

/// y (rows, count) = x (rows, ...) [:, from], 0 where `from` is -1; backward dx (rows, columns) from dy (rows, count),
/// with x = dy and y = dx
struct Take {
  const float* x;
  int64_t ldx;
  float* y;
  int64_t ldy;
  const int32_t* from;  // (count,)
  int64_t count, columns;
  Range rows;
};

/// y (rows, columns) random; see noise.h for what each function makes of the numbers
struct Noise {
  float* y;
  int64_t ld;
  Range rows, columns;
  uint64_t seed;
  uint64_t step;
  int64_t first;  // number of the first row in the counters
  bool shared;    // whether all rows get the same numbers
  double rate;
  float mean, scale;
};

/// 1 for each of the rows (samples, groups) that counts, else 0; null where all do.
struct CountedRows {
  const float* values;
  int64_t ld, groups;
};

/// mean, variance (columns,) of the rows of x (rows, columns) that count
struct ColumnStatistics {
  const float* x;
  int64_t ld;
  CountedRows counted;
  float *mean, *variance;
  Range rows, columns;
};

/// What numbers are multiplied by: 1 / sqrt(variance + epsilon), 1 / max(sqrt(variance), epsilon), or the inverse of
/// that
enum class Spread { kVariance, kDeviation, kInverse };

/// y = factor (x - mean), or with kInverse factor x + mean. Backward: x = dy, y = dx, `saved` = y or null, and
/// `counted` what the statistics are of
struct StandardizeColumns {
  const float* x;
  const float* saved;
  float* y;
  int64_t ld;
  CountedRows counted;
  const float *mean, *variance;  // (columns,)
  float epsilon;
  Spread spread;
  Range rows, columns;
};

/// Bounds of what a batch's numbers are multiplied by and moved by.
struct CorrectionLimits {
  float rmin, rmax, dmax;
};

/// Variables of batch renormalization.
inline constexpr int kRenormVariables = 3;

/// r (columns,) = deviation / running deviation, d = (mean - running mean) / running deviation, and the deviation
struct Corrections {
  const float *mean, *variance, *running_mean, *running_deviation;
  float epsilon;
  CorrectionLimits limits;
  float *r, *d, *deviation;
  Range columns;
};

/// variance (columns,) = deviation^2 - epsilon, at least 0
struct VarianceOf {
  float* variance;
  const float* deviation;
  float epsilon;
  Range columns;
};

struct MovingAverage {
  float* average;
  const float* value;
  double momentum;
  Range columns;
};

/// y = f(x; gain, shift), with a gain and a shift per column, each of which may be null
struct LearnedColumns {
  const float* x;
  const float* dy;
  float* y;  // or dx
  int64_t ld;
  const float *gain, *shift;
  float *dgain, *dshift;
  Range rows, columns;
};

/// y (rows, n) = factor (x - mean). Backward: x = dy, y = dx, `saved` = y
struct StandardizeRows {
  const float* x;
  const float* saved;
  float* y;
  int64_t ld, n;
  float* factors;  // (rows, 2)
  int64_t ld_factors;
  float epsilon;
  bool centred, unit;
  Range rows;
};

/// y (rows * count, n) = table (tokens, n), in panels, at x (rows, count)
struct Embed {
  const float* x;
  int64_t ldx, count;
  const float* table;
  int64_t tokens, n;
  float* y;
  int64_t ldy;
  Range rows;
};

struct EmbedBackward {
  const float* x;
  int64_t ldx, count;
  const float* dy;  // (rows * count, n)
  int64_t lddy;
  float* table;  // of sums
  int64_t tokens, n, rows;
  Range columns;
};

/// y (rows, tokens) = number of times that x (rows, n) holds each token
struct Encode {
  const float* x;
  int64_t ldx, n;
  float* y;
  int64_t ldy, tokens;
  bool counts;
  Range rows;
};

/// factors (rows, count) = 1 for each row of x (rows, count, n), or with `shares` its part of 1; 0 for those that hold
/// `value` alone
struct Mask {
  const float* x;
  int64_t ldx, stride, n;
  float* factors;
  int64_t ld, count;
  float value;
  bool shares;
  Range rows;
};

/// y (rows, n) = sum of factors x (rows, count, n), or y (rows, count, n) = factors x, where x has a stride of 0 if all
/// rows of a sample are the same; without factors `scale` in their place
struct WeighRows {
  const float* x;
  int64_t ldx, stride_x;
  const float* factors;
  int64_t ld_factors;
  float scale;
  float* y;
  int64_t ldy, stride_y;
  int64_t count, n;
  Range rows;
};

/// y (rows, n) = the largest of x (rows * count, n) in each column of a sample. Backward:
/// dx (rows * count, n) from dy (rows, n), shared by those of x that are as large as y
struct MaxRows {
  const float* x;
  int64_t ldx;
  float *y, *dx;
  const float* dy;
  int64_t ldy, count, n;
  Range rows;
};

/// What lies outside of an image: a constant, its edge, its mirror image, or itself again.
enum class Fill { kConstant, kNearest, kReflect, kWrap };

/// Pixels around an image of n that are kept ready, with what lies outside: a square that turns reaches out by 0.21 n.
inline constexpr int64_t warp_margin(int64_t n) { return n / 4 > 8 ? n / 4 : 8; }
inline constexpr int64_t warp_frame(int64_t height, int64_t width) {
  return (height + 2 * warp_margin(height)) * round_up(width + 2 * warp_margin(width), kLane);
}

/// Rows whose displacements are smoothed together.
inline constexpr int64_t kSmoothedTogether = 4;

/// Taps that smooth them are whole numbers, whose sum stands for 1.
inline constexpr int kTapBits = 14;
inline constexpr int32_t kWholeTap = 1 << kTapBits;

/// Two fields of displacements, in padded rows.
inline constexpr int64_t warp_fields(int64_t height, int64_t width) {
  return 2 * round_up(height, kSmoothedTogether) * round_up(width, kLane);
}

/// Words of noise that they are made from: one for each pixel, and a row of zeros.
inline constexpr int64_t warp_noise(int64_t height, int64_t width) {
  return round_up((height + 1) * width, kLane) + kLane;
}

/// Floats of scratch: a framed image, where its frame is read, three numbers for each column; fields, their noise, and
/// both on their way in half of the bits.
inline constexpr int64_t warp_scratch(int64_t height, int64_t width, int64_t channels, bool displaces) {
  const int64_t image = channels * warp_frame(height, width) + 2 * warp_margin(width) + 3 * round_up(width, kLane);
  const int64_t between = round_up(height, kSmoothedTogether) * (round_up(width, kLane) + kLane);
  return image + kLane + (displaces ? warp_fields(height, width) + warp_noise(height, width) + between : 0);
}

/// y (rows, height * width * channels) = the images x, changed; ranges are of uniform random numbers
struct Warp {
  const float* x;
  float* y;
  int64_t ld;
  float* scratch;  // (warp_scratch,)
  int64_t height, width, channels;
  float down[2], right[2];  // shares of height and width by which they are moved
  float turns[2];           // full ones, against the clock
  float zoom[2][2];         // shares by which what is seen grows, by height and by width ...
  bool zooms_alike;         // ... or both by the first
  bool flips[2];            // whether half of them are turned over, or mirrored
  float alpha;              // bound of displacements before they are smoothed
  int64_t radius;           // within which noise is smoothed to displacements; -1: there are none
  const int32_t* taps;      // [d]: the tap of who is d away in the lower half, of d - 1 in the upper one
  Fill fill;
  float fill_value;
  bool nearest;  // else between four neighbours
  uint64_t seed, step;
  int64_t first;  // number of the first image in the counters
  Range rows;
};

/// The rules of learned columns: a gain and a shift, or a slope for what is negative.
enum class Learned { kScaled, kLeaky };
inline constexpr int kLearned = 2;

struct LayerTable {
  void (*take)(const Take&);
  void (*take_backward)(const Take&);
  void (*mask_noise)(const Noise&);
  void (*normal_noise)(const Noise&);
  void (*add)(const Elementwise&);  // y = x + saved
  void (*alpha_dropout)(const Elementwise&, float kept, float dropped);
  void (*column_statistics)(const ColumnStatistics&);
  void (*standardize_columns)(const StandardizeColumns&);
  void (*standardize_columns_backward)(const StandardizeColumns&);
  void (*moving_average)(const MovingAverage&);
  void (*corrections)(const Corrections&);
  void (*variance_of)(const VarianceOf&);
  void (*learned_columns[kLearned])(const LearnedColumns&);
  void (*learned_columns_backward[kLearned])(const LearnedColumns&);
  void (*learned_columns_gradients[kLearned])(const LearnedColumns&);
  void (*standardize_rows)(const StandardizeRows&);
  void (*standardize_rows_backward)(const StandardizeRows&);
  void (*embed)(const Embed&);
  void (*embed_backward)(const EmbedBackward&);
  void (*encode)(const Encode&);
  void (*mask)(const Mask&);
  void (*mean_rows)(const WeighRows&);
  void (*weigh_rows)(const WeighRows&);
  void (*max_rows)(const MaxRows&);
  void (*max_rows_backward)(const MaxRows&);
  void (*warp)(const Warp&);
};

}  // namespace engine
