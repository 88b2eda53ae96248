// Images moved, turned, zoomed, mirrored and distorted at random, each by numbers of its own.
#pragma once
#include "kernels/layer_table.h"
#include "kernels/philox.h"
#include "kernels/random.h"
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

/// Where coordinate i of an axis of n is read; -1: nowhere.
inline int64_t place(int64_t i, int64_t n, Fill fill) {
  if (i >= 0 && i < n) return i;
  switch (fill) {
    case Fill::kConstant:
      return -1;
    case Fill::kNearest:
      return i < 0 ? 0 : n - 1;
    case Fill::kWrap:
      return (i % n + n) % n;
    case Fill::kReflect:
      break;
  }
  const int64_t at = (i % (2 * n) + 2 * n) % (2 * n);
  return at < n ? at : 2 * n - 1 - at;
}

/// Whole part, towards minus infinity, of a coordinate that is nowhere near the limits.
inline int64_t floored(float x) {
  const auto i = static_cast<int64_t>(x);
  return static_cast<float>(i) > x ? i - 1 : i;
}

/// Reads images at any place.
struct Sampler {
  const Warp& op;
  const float* x;

  float pixel(int64_t i, int64_t j, int64_t c) const {
    const int64_t row = place(i, op.height, op.fill), column = place(j, op.width, op.fill);
    return row < 0 || column < 0 ? op.fill_value : x[(row * op.width + column) * op.channels + c];
  }

  void sample(float row, float column, float* y) const {
    constexpr float kFar = 1e6f;
    row = row < -kFar ? -kFar : row > kFar ? kFar : row;
    column = column < -kFar ? -kFar : column > kFar ? kFar : column;
    if (op.nearest) {
      const int64_t i = floored(row + 0.5f), j = floored(column + 0.5f);
      for (int64_t c = 0; c < op.channels; ++c) y[c] = pixel(i, j, c);
      return;
    }
    const int64_t i = floored(row), j = floored(column);
    const float down = row - static_cast<float>(i), right = column - static_cast<float>(j);
    const float w00 = (1.0f - down) * (1.0f - right), w01 = (1.0f - down) * right;
    const float w10 = down * (1.0f - right), w11 = down * right;
    if (i >= 0 && j >= 0 && i + 1 < op.height && j + 1 < op.width) {
      const float* at = x + (i * op.width + j) * op.channels;
      const float* below = at + op.width * op.channels;
      for (int64_t c = 0; c < op.channels; ++c) {
        y[c] = w00 * at[c] + w01 * at[c + op.channels] + w10 * below[c] + w11 * below[c + op.channels];
      }
      return;
    }
    for (int64_t c = 0; c < op.channels; ++c) {
      y[c] = w00 * pixel(i, j, c) + w01 * pixel(i, j + 1, c) + w10 * pixel(i + 1, j, c) + w11 * pixel(i + 1, j + 1, c);
    }
  }
};

/// out (height, width) = in smoothed along both axes by `taps` (2 radius + 1,); what lies outside is 0
inline void smooth(const Warp& op, const float* in, float* between, float* out) {
  const int64_t radius = (op.tap_count - 1) / 2, size = op.height * op.width;
  for (int64_t p = 0; p < size; ++p) between[p] = out[p] = 0.0f;
  for (int64_t t = -radius; t <= radius; ++t) {
    const float tap = op.taps[t + radius];
    const int64_t first = t < 0 ? -t : 0, last = t > 0 ? op.height - t : op.height;
    for (int64_t p = first * op.width; p < last * op.width; ++p) between[p] += tap * in[p + t * op.width];
  }
  for (int64_t i = 0; i < op.height; ++i) {
    float* to = out + i * op.width;
    const float* from = between + i * op.width;
    for (int64_t t = -radius; t <= radius; ++t) {
      const float tap = op.taps[t + radius];
      const int64_t first = t < 0 ? -t : 0, last = t > 0 ? op.width - t : op.width;
      for (int64_t j = first; j < last; ++j) to[j] += tap * from[j + t];
    }
  }
}

/// Fields of displacements, by rows and by columns: the first two of `scratch` (kWarpFields, height * width), which has
/// room for a cache line more. Pixels of both fields draw as columns of a row do in random.h.
inline void displace(const Warp& op, int64_t image) {
  const int64_t size = op.height * op.width;
  float *fields = op.scratch, *between = fields + 2 * size, *noise = between + size;
  const vf scale = broadcast(op.alpha * 0x1p-23f), bound = broadcast(-op.alpha);
  for_random({{image, image + 1}, {0, round_up(2 * size, kLane)}, op.seed, op.step, op.first, false},
             [&](int64_t, int64_t column, vu words) {
               const vf k = __builtin_convertvector(reinterpret_cast<vi>(words >> 8), vf);
               store(noise + column, fma(k, scale, bound));
             });
  for (int64_t field = 0; field < 2; ++field) smooth(op, noise + field * size, between, fields + field * size);
}

void warp(const Warp& op) {
  const float middle = 0.5f * static_cast<float>(op.height - 1), centre = 0.5f * static_cast<float>(op.width - 1);
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    Uniform uniform(op.seed, op.step, static_cast<uint32_t>(op.first + b));
    const float down = uniform.within(op.down) * static_cast<float>(op.height);
    const float right = uniform.within(op.right) * static_cast<float>(op.width);
    const Turn turn = turned(uniform.within(op.turns));
    const float tall = 1.0f + uniform.within(op.zoom[0]);
    const float wide = op.zooms_alike ? tall : 1.0f + uniform.within(op.zoom[1]);
    const bool over = uniform.next() < 0.5f && op.flips[0], mirrored = uniform.next() < 0.5f && op.flips[1];
    const bool elastic = op.tap_count > 0;
    if (elastic) displace(op, b);
    const Sampler sampler{op, op.x + b * op.ld};
    float* y = op.y + b * op.ld;
    for (int64_t i = 0; i < op.height; ++i) {
      const float v = (static_cast<float>(i) - middle) * (over ? -tall : tall) - down;
      for (int64_t j = 0; j < op.width; ++j) {
        const float u = (static_cast<float>(j) - centre) * (mirrored ? -wide : wide) - right;
        float row = turn.sine * u + turn.cosine * v + middle, column = turn.cosine * u - turn.sine * v + centre;
        const int64_t p = i * op.width + j;
        if (elastic) {
          row += op.scratch[p];
          column += op.scratch[op.height * op.width + p];
        }
        sampler.sample(row, column, y + p * op.channels);
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
