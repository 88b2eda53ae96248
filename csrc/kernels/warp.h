// Images moved, turned, zoomed, mirrored and distorted at random, each by numbers of its own.
#pragma once
#include "kernels/layer_table.h"
#include "kernels/philox.h"
#include "kernels/random.h"
#include "kernels/sampling.h"
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

/// Random numbers in [0, 1) of one image, a function of its number, the step and the seed.
class Uniform {
 public:
  Uniform(uint64_t seed, uint64_t step, uint32_t image) : key_(philox::make_key(seed)), step_(step), image_(image) {}

  float next() {
    if (used_ == 4) {
      words_[0] = counter_++;
      words_[1] = image_;
      words_[2] = step_ & 0xffffffffu;
      words_[3] = step_ >> 32;
      philox::generate(words_, key_, [](uint64_t a, uint32_t m) { return (a & 0xffffffffu) * m; });
      used_ = 0;
    }
    return static_cast<float>((words_[used_++] & 0xffffffffu) >> 8) * 0x1p-24f;
  }
  float within(const float (&range)[2]) { return range[0] + (range[1] - range[0]) * next(); }

 private:
  philox::Key key_;
  uint64_t step_, counter_ = 0;
  uint32_t image_;
  uint64_t words_[4] = {};
  int used_ = 4;
};

struct Turn {
  float sine, cosine;
};

/// Of so many full turns: quarters are split off, Taylor's series take the rest.
inline Turn turned(float turns) {
  constexpr double kFullTurn = 6.283185307179586;
  const double quarters = static_cast<double>(turns) * 4.0;
  const auto whole = static_cast<int64_t>(quarters + (quarters < 0.0 ? -0.5 : 0.5));
  const double x = (quarters - static_cast<double>(whole)) * (kFullTurn / 4.0), u = x * x;
  double sine = 0.0, cosine = 0.0;
  for (int k = 17; k > 1; k -= 2) {
    sine = (sine + (k / 2 % 2 == 0 ? 1.0 : -1.0)) * u / static_cast<double>(k * (k - 1));
    cosine = (cosine + (k / 2 % 2 == 0 ? 1.0 : -1.0)) * u / static_cast<double>((k - 1) * (k - 2));
  }
  sine = x * (1.0 + sine);
  cosine = 1.0 + cosine;
  const auto s = static_cast<float>(sine), c = static_cast<float>(cosine);
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

/// Fields of displacements: by rows, by columns.
constexpr int64_t kFields = 2;

/// Sums of taps[t] times the vector at in[t * stride], of fields which lie `apart`, and go to out.
/// No fma: without the instruction that would take ten times as long.
ENGINE_INLINE void weigh(const float* taps, int64_t count, const float* in, int64_t stride, int64_t apart, float* out,
                         int64_t out_apart) {
  vf sums[kFields] = {};
  for (int64_t t = 0; t < count; ++t) {
    const vf tap = broadcast(taps[t]);
#pragma GCC unroll 2
    for (int64_t f = 0; f < kFields; ++f) sums[f] += tap * load(in + t * stride + f * apart);
  }
#pragma GCC unroll 2
  for (int64_t f = 0; f < kFields; ++f) store(out + f * out_apart, sums[f]);
}

/// out (kFields, height, width) = in smoothed along both axes by `taps` (2 radius + 1,); what lies outside is 0. Whole
/// vectors are read and written: what is too much in one row is written again by the next. `between` is a row.
inline void smooth(const Warp& op, const float* in, float* between, float* out) {
  const int64_t radius = (op.tap_count - 1) / 2, ld = warp_margins(op.width, op.tap_count);
  const int64_t size = op.height * op.width, apart = warp_field(op.height, op.width);
  for (int64_t i = 0; i < op.height; ++i) {
    const int64_t first = i < radius ? 0 : i - radius, end = i + radius < op.height ? i + radius + 1 : op.height;
    for (int64_t j = 0; j < op.width; j += kWidth) {
      weigh(op.taps + first - i + radius, end - first, in + first * op.width + j, op.width, size, between + radius + j,
            ld);
    }
    for (int64_t f = 0; f < kFields; ++f) {
      float* row = between + f * ld;
      for (int64_t j = 0; j < radius; ++j) row[j] = row[radius + op.width + j] = 0.0f;
    }
    for (int64_t j = 0; j < op.width; j += kWidth) {
      weigh(op.taps, op.tap_count, between + j, 1, ld, out + i * op.width + j, apart);
    }
  }
}

/// The fields, at the start of `scratch`. Their pixels draw as columns of a row do in random.h.
inline void displace(const Warp& op, int64_t image) {
  float* between = op.scratch + kFields * warp_field(op.height, op.width);
  float* noise = between + kFields * warp_margins(op.width, op.tap_count);
  const vf scale = broadcast(op.alpha * 0x1p-23f), bound = broadcast(-op.alpha);
  const int64_t count = round_up(kFields * op.height * op.width, kLane);
  for_random({{image, image + 1}, {0, count}, op.seed, op.step, op.first, false},
             [&](int64_t, int64_t column, vu words) {
               const vf k = __builtin_convertvector(reinterpret_cast<vi>(words >> 8), vf);
               store(noise + column, fma(k, scale, bound));
             });
  smooth(op, noise, between, op.scratch);
}

void warp(const Warp& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    Uniform uniform(op.seed, op.step, static_cast<uint32_t>(op.first + b));
    View view;
    view.down = uniform.within(op.down) * static_cast<float>(op.height);
    view.right = uniform.within(op.right) * static_cast<float>(op.width);
    const Turn turn = turned(uniform.within(op.turns));
    view.sine = turn.sine;
    view.cosine = turn.cosine;
    view.tall = 1.0f + uniform.within(op.zoom[0]);
    view.wide = op.zooms_alike ? view.tall : 1.0f + uniform.within(op.zoom[1]);
    if (uniform.next() < 0.5f && op.flips[0]) view.tall = -view.tall;
    if (uniform.next() < 0.5f && op.flips[1]) view.wide = -view.wide;
    const float* x = op.x + b * op.ld;
    float* y = op.y + b * op.ld;
    if (op.tap_count > 0) displace(op, b);
    if (op.tap_count > 0 || view.sine != 0.0f) {
      sample_pixels(op, view, x, y);
    } else {
      sample_rows(op, view, x, y);
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
