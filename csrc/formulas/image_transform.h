// How an image is changed at random: an affine map from each pixel of the result to its coordinate in the image, by
// random numbers that are a function of the image's number, the step and the seed.
#pragma once
#include "formulas/kinds.h"
#include "formulas/number.h"
#include "formulas/philox.h"

namespace engine::formulas {
namespace {

/// The uniform random numbers of one image, multiples of 2^-24 in [0, 1).
class ImageNumbers {
 public:
  ENGINE_INLINE ImageNumbers(uint64_t seed, uint64_t step, uint32_t image)
      : key_(philox::make_key(seed)), step_(step), image_(image) {}

  ENGINE_INLINE float next() {
    if (used_ == 4) refill();
    return static_cast<float>((words_[used_++] & 0xffffffffu) >> 8) * 0x1p-24f;
  }
  ENGINE_INLINE float within(const float (&range)[2]) { return range[0] + (range[1] - range[0]) * next(); }

 private:
  /// Not inlined: the rounds are unrolled.
  ENGINE_DEVICE __attribute__((noinline)) void refill() {
    words_[0] = counter_++;
    words_[1] = image_;
    words_[2] = step_ & 0xffffffffu;
    words_[3] = step_ >> 32;
    philox::generate(words_, key_, [](uint64_t a, uint32_t m) { return (a & 0xffffffffu) * m; });
    used_ = 0;
  }

  philox::Key key_;
  uint64_t step_, counter_ = 0;
  uint32_t image_;
  uint64_t words_[4] = {};
  int used_ = 4;
};

struct Rotation {
  float sine, cosine;
};

/// Coefficients of the Taylor series of sine (divided by x) and cosine, by powers of x^2.
struct Series {
  static constexpr int kTerms = 9;
  double sine[kTerms] = {1.0}, cosine[kTerms] = {1.0};

  constexpr Series() {
    for (int k = 1; k < kTerms; ++k) {
      sine[k] = -sine[k - 1] / (2.0 * k * (2.0 * k + 1.0));
      cosine[k] = -cosine[k - 1] / (2.0 * k * (2.0 * k - 1.0));
    }
  }
};

/// Sine and cosine of an angle in full turns. Whole quarter turns only exchange the two and their signs; the Taylor
/// series compute the rest, at most an eighth of a turn.
ENGINE_INLINE Rotation rotation_of(float turns) {
  constexpr Series kSeries;
  constexpr double kFullTurn = 6.283185307179586;
  const double quarters = static_cast<double>(turns) * 4.0;
  const auto whole = static_cast<int64_t>(quarters + (quarters < 0.0 ? -0.5 : 0.5));
  const double x = (quarters - static_cast<double>(whole)) * (kFullTurn / 4.0), u = x * x;
  double sine = 0.0, cosine = 0.0;
  for (int k = Series::kTerms; k-- > 0;) {
    sine = sine * u + kSeries.sine[k];
    cosine = cosine * u + kSeries.cosine[k];
  }
  const auto s = static_cast<float>(sine * x), c = static_cast<float>(cosine);
  switch (whole & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

/// The affine map from a pixel of the result to its coordinate in the input: scaled about the middle and shifted, then
/// rotated.
struct ImageTransform {
  float down, right;  // pixels
  float sine, cosine;
  float tall, wide;  // negative: turned over, mirrored
};

ENGINE_INLINE ImageTransform random_transform(const ImageChanges& changes, uint64_t step, uint32_t image) {
  ImageNumbers numbers(changes.seed, step, image);
  ImageTransform transform;
  transform.down = numbers.within(changes.down) * static_cast<float>(changes.height);
  transform.right = numbers.within(changes.right) * static_cast<float>(changes.width);
  const Rotation rotation = rotation_of(numbers.within(changes.turns));
  transform.sine = rotation.sine;
  transform.cosine = rotation.cosine;
  transform.tall = 1.0f + numbers.within(changes.zoom[0]);
  transform.wide = changes.zooms_alike ? transform.tall : 1.0f + numbers.within(changes.zoom[1]);
  if (numbers.next() < 0.5f && changes.flips[0]) transform.tall = -transform.tall;
  if (numbers.next() < 0.5f && changes.flips[1]) transform.wide = -transform.wide;
  return transform;
}

}  // namespace
}  // namespace engine::formulas
