// Random augmentation of images: each is shifted, rotated, zoomed, flipped and elastically distorted by random numbers
// that are a function of the image's number, the step and the seed.
#pragma once
#include "formulas/philox.h"
#include "kernels/elastic_displacements.h"
#include "kernels/image_sampling.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// The uniform random numbers of one image, multiples of 2^-24 in [0, 1).
class Uniform {
 public:
  Uniform(uint64_t seed, uint64_t step, uint32_t image) : key_(philox::make_key(seed)), step_(step), image_(image) {}

  float next() {
    if (used_ == 4) refill();
    return static_cast<float>((words_[used_++] & 0xffffffffu) >> 8) * 0x1p-24f;
  }
  float within(const float (&range)[2]) { return range[0] + (range[1] - range[0]) * next(); }

 private:
  /// Not inlined: the rounds are unrolled.
  __attribute__((noinline)) void refill() {
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

constexpr int kTerms = 9;

/// Coefficients of the Taylor series of sine (divided by x) and cosine, by powers of x^2.
struct Series {
  double sine[kTerms] = {1.0}, cosine[kTerms] = {1.0};

  constexpr Series() {
    for (int k = 1; k < kTerms; ++k) {
      sine[k] = -sine[k - 1] / (2.0 * k * (2.0 * k + 1.0));
      cosine[k] = -cosine[k - 1] / (2.0 * k * (2.0 * k - 1.0));
    }
  }
};
constexpr Series kSeries;

/// Sine and cosine of an angle in full turns. Whole quarter turns only exchange the two and their signs; the Taylor
/// series compute the rest, at most an eighth of a turn.
inline Rotation rotation_of(float turns) {
  constexpr double kFullTurn = 6.283185307179586;
  const double quarters = static_cast<double>(turns) * 4.0;
  const auto whole = static_cast<int64_t>(quarters + (quarters < 0.0 ? -0.5 : 0.5));
  const double x = (quarters - static_cast<double>(whole)) * (kFullTurn / 4.0), u = x * x;
  double sine = 0.0, cosine = 0.0;
  for (int k = kTerms; k-- > 0;) {
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

/// y = the augmented images of x, both (rows, height * width * channels).
void warp(const Warp& op) {
  const BorderedImage image(op);
  const int64_t ld = round_up(op.width, kLane);
  float* columns = op.scratch + op.channels * warp_frame(op.height, op.width) + 2 * warp_margin(op.width);
  const RowScratch scratch{columns, columns + ld, columns + 2 * ld};
  const Fields fields{columns + 3 * ld, warp_fields(op.height, op.width) / 2, ld};
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    Uniform uniform(op.seed, op.step, static_cast<uint32_t>(op.first + b));
    Transform transform;
    transform.down = uniform.within(op.down) * static_cast<float>(op.height);
    transform.right = uniform.within(op.right) * static_cast<float>(op.width);
    const Rotation rotation = rotation_of(uniform.within(op.turns));
    transform.sine = rotation.sine;
    transform.cosine = rotation.cosine;
    transform.tall = 1.0f + uniform.within(op.zoom[0]);
    transform.wide = op.zooms_alike ? transform.tall : 1.0f + uniform.within(op.zoom[1]);
    if (uniform.next() < 0.5f && op.flips[0]) transform.tall = -transform.tall;
    if (uniform.next() < 0.5f && op.flips[1]) transform.wide = -transform.wide;
    const float* x = op.x + b * op.ld;
    float* y = op.y + b * op.ld;
    if (op.radius >= 0) displace(op, b, fields);
    if (op.radius >= 0 || transform.sine != 0.0f) {
      sample_pixels(op, transform, image, fields, scratch, x, y);
    } else {
      sample_rows(op, transform, image, scratch, x, y);
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
