// Random factors and addends, keyed by seed, step, row and column.
#pragma once
#include "kernels/blocks.h"
#include "kernels/layer_table.h"
#include "kernels/math.h"
#include "kernels/random.h"

namespace engine::ENGINE_ISA {
namespace {

template <class F>
ENGINE_INLINE void fill_noise(const Noise& op, F&& value) {
  for_random({op.rows, op.columns, op.seed, op.step, op.first, op.shared},
             [&](int64_t b, int64_t column, vu words) { store(op.y + b * op.ld + column, value(words)); });
}

/// 0 for a share `rate` of the numbers, `scale` for the others
void mask_noise(const Noise& op) {
  const vu threshold = words_below(op.rate);
  const vf scale = broadcast(op.rate < 1.0 ? op.scale : 0.0f);
  fill_noise(op, [&](vu words) { return words >= threshold ? scale : vf{}; });
}

/// The inverse of the error function (Giles, "Approximating the erfinv function", 2012): 2e-7 relative
ENGINE_INLINE vf inverse_erf(vf x) {
  constexpr float kCentre[] = {2.81022636e-08f, 3.43273939e-07f, -3.5233877e-06f, -4.39150654e-06f, 0.00021858087f,
                               -0.00125372503f, -0.00417768164f, 0.246640727f,    1.50140941f};
  constexpr float kTail[] = {-0.000200214257f, 0.000100950558f, 0.00134934322f, -0.00367342844f, 0.00573950773f,
                             -0.0076224613f,   0.00943887047f,  1.00167406f,    2.83297682f};
  const vf w = -log((1.0f - x) * (1.0f + x));
  const vf p = w < 5.0f ? polynomial(w - 2.5f, kCentre) : polynomial(sqrt(w) - 3.0f, kTail);
  return p * x;
}

/// Normal with `mean` and `deviation`, by the inverse of the distribution function
void normal_noise(const Noise& op) {
  constexpr float kRoot2 = 1.41421356f;
  const vf mean = broadcast(op.mean), deviation = broadcast(op.scale * kRoot2);
  fill_noise(op, [&](vu words) {
    // The odd multiples of 2^-23 in (-1, 1), which are exact.
    const vf k = __builtin_convertvector(reinterpret_cast<vi>(words >> 9), vf);
    return fma(inverse_erf(fma(k, broadcast(0x1p-22f), broadcast(0x1p-23f - 1.0f))), deviation, mean);
  });
}

void add(const Elementwise& op) {
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) { store(op.y + at, load(op.x + at) + load(op.saved + at)); });
}

/// y = x * saved + kept, or `dropped` where `saved` is 0
void alpha_dropout(const Elementwise& op, float kept, float dropped) {
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) {
    const vf mask = load(op.saved + at);
    store(op.y + at, mask == 0.0f ? broadcast(dropped) : fma(load(op.x + at), mask, broadcast(kept)));
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
