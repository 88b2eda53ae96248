// Random factors (dropout) and addends (Gaussian noise) of the elements of a matrix, and arrays of random numbers.
#pragma once
#include "formulas/random.h"
#include "kernels/random.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

template <class F>
ENGINE_INLINE void fill_noise(const NoiseArgs& op, F&& value) {
  for_random({op.rows, op.columns, op.seed, op.step, op.first, op.shared},
             [&](int64_t b, int64_t column, vu words) { store(op.y + b * op.ld + column, value(words)); });
}

/// 0 for a share `rate` of the numbers, `scale` for the others
void mask_noise(const NoiseArgs& op) {
  const vu threshold = words_below(op.rate);
  const vf scale = broadcast(op.rate < 1.0 ? op.scale : 0.0f);
  fill_noise(op, [&](vu words) { return words >= threshold ? scale : vf{}; });
}

/// Normal with `mean` and deviation `scale`
void normal_noise(const NoiseArgs& op) {
  const vf mean = broadcast(op.mean), deviation = broadcast(op.scale * kRootOfTwo);
  fill_noise(op, [&](vu words) { return normal_number(words, deviation, mean); });
}

static_assert(kRandomGroup == kWordsPerGroup);

/// The random numbers of one row, from word number `first` on
template <class F>
ENGINE_INLINE void fill_numbers(const RandomNumbersArgs& op, F&& value) {
  for_random({{0, 1}, {op.first, op.first + op.count}, op.seed, op.step, 0, false},
             [&](int64_t, int64_t column, vu words) { store(op.y + (column - op.first), value(words)); });
}

void uniform_numbers(const RandomNumbersArgs& op) {
  const vf low = broadcast(op.low), width = broadcast(op.high - op.low), most = broadcast(op.below_high);
  fill_numbers(op, [&](vu words) { return uniform_number(words, low, width, most); });
}

void normal_numbers(const RandomNumbersArgs& op) {
  const vf mean = broadcast(op.low), deviation = broadcast(op.high * kRootOfTwo);
  fill_numbers(op, [&](vu words) { return normal_number(words, deviation, mean); });
}

void truncated_normal_numbers(const RandomNumbersArgs& op) {
  const vf mean = broadcast(op.low), deviation = broadcast(op.high);
  fill_numbers(op, [&](vu words) { return truncated_normal_number(words, deviation, mean); });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
