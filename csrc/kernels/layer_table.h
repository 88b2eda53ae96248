// The kernels of layers that are not products: their argument structs and their table. Other rooms reach them through
// KernelTable::layers.
#pragma once
#include <cstdint>

#include "kernels/table.h"

namespace engine {

/// y (rows, count) = x (rows, ...) [:, from], 0 where `from` is -1. Backward: x = dy (rows, count) and
/// y = dx (rows, columns).
struct Take {
  const float* x;
  int64_t ldx;
  float* y;
  int64_t ldy;
  const int32_t* from;  // (count,)
  int64_t count, columns;
  Range rows;
};

/// y (rows, columns) of random numbers; noise.h says of which distribution.
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

/// A mask of rows (samples, groups): nonzero for each row that statistics include; null where they include all.
struct CountedRows {
  const float* values;
  int64_t ld, groups;
};

/// mean and variance (columns,) of x (rows, columns), over the rows that the mask includes
struct ColumnStatistics {
  const float* x;
  int64_t ld;
  CountedRows counted;
  float *mean, *variance;
  Range rows, columns;
};

/// y = factor (x - mean), or with kInverse factor x + mean. Backward: x = dy and y = dx; `saved` = y, or null where
/// mean and variance are constants; `counted` is the mask of the rows whose statistics they are.
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

/// Variables of batch renormalization.
inline constexpr int kRenormVariables = 3;

/// Batch renormalization: r (columns,) = deviation / running deviation, d = (mean - running mean) / running deviation,
/// and the deviation of the batch
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

/// average = momentum average + (1 - momentum) value
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

/// y (rows, n) = factor (x - mean) with a factor and a mean for each row. Backward: x = dy, y = dx, `saved` = y.
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

/// y (rows * count, n) = the rows of table (tokens, n), in panels, that x (rows, count) selects
struct Embed {
  const float* x;
  int64_t ldx, count;
  const float* table;
  int64_t tokens, n;
  float* y;
  int64_t ldy;
  Range rows;
};

/// The gradient of the table: sums of dy by token
struct EmbedBackward {
  const float* x;
  int64_t ldx, count;
  const float* dy;  // (rows * count, n)
  int64_t lddy;
  float* table;  // of sums
  int64_t tokens, n, rows;
  Range columns;
};

/// y (rows, tokens) = how often x (rows, n) holds each token, or without `counts` 1 if it does
struct Encode {
  const float* x;
  int64_t ldx, n;
  float* y;
  int64_t ldy, tokens;
  bool counts;
  Range rows;
};

/// factors (rows, count) = 0 for each timestep of x (rows, count, n) that holds `value` alone, else 1; with `shares`
/// divided by their sum
struct Mask {
  const float* x;
  int64_t ldx, stride, n;
  float* factors;
  int64_t ld, count;
  float value;
  bool shares;
  Range rows;
};

/// y (rows, n) = sum over count of factors (rows, count) times x (rows, count, n), or y (rows, count, n) = factors x.
/// `stride_x` is 0 where all timesteps share one row of x. Without factors, `scale` takes the place of each.
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

/// y (rows, n) = max over count of x (rows * count, n). Backward: dx (rows * count, n) = dy (rows, n) where x equals y,
/// divided by the number of timesteps where it does; 0 elsewhere.
struct MaxRows {
  const float* x;
  int64_t ldx;
  float *y, *dx;
  const float* dy;
  int64_t ldy, count, n;
  Range rows;
};

/// Pixels of the border that is copied around an image of n pixels: a square that rotates reaches out by 0.21 n.
inline constexpr int64_t warp_margin(int64_t n) { return n / 4 > 8 ? n / 4 : 8; }
inline constexpr int64_t warp_frame(int64_t height, int64_t width) {
  return (height + 2 * warp_margin(height)) * round_up(width + 2 * warp_margin(width), kLane);
}

/// Rows whose displacements are smoothed together.
inline constexpr int64_t kSmoothedTogether = 4;

/// The taps of the filter that smooths them are integers, whose sum, kWholeTap, stands for 1.
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

/// Floats of scratch: an image with its border, the columns that the border repeats, and three numbers for each column;
/// for displacements also two fields, their noise, and both fields half smoothed, in 16 bits.
inline constexpr int64_t warp_scratch(int64_t height, int64_t width, int64_t channels, bool displaces) {
  const int64_t image = channels * warp_frame(height, width) + 2 * warp_margin(width) + 3 * round_up(width, kLane);
  const int64_t between = round_up(height, kSmoothedTogether) * (round_up(width, kLane) + kLane);
  return image + kLane + (displaces ? warp_fields(height, width) + warp_noise(height, width) + between : 0);
}

/// y (rows, height * width * channels) = the images x, changed
struct Warp : ImageChanges {
  const float* x;
  float* y;
  int64_t ld;
  float* scratch;       // (warp_scratch,)
  const int32_t* taps;  // [d]: the filter's tap at distance d in the lower 16 bits, at d - 1 in the upper
  uint64_t step;
  int64_t first;  // number of the first image in the counters
  Range rows;
};

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
