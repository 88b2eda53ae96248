// The fused step: the epilogue of a weight gradient that steps the weights by a tile of it, so that the gradient is
// never stored.
#pragma once
#include <type_traits>

#include "kernels/optimizers.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Shrinks weights as Keras does: the gradient of an L2 penalty is added to the gradient, and decoupled weight decay
/// (Loshchilov & Hutter 2019) is applied before the step. Factors of zero change no bit.
template <Shrinkage Kind>
struct Shrink {
  vf l2_slope{}, decay{};

  Shrink(const Weights& w, const OptimizerStep& step) {
    if constexpr (Kind == Shrinkage::kSome) {
      l2_slope = constant(2.0 * w.l2);
      decay = constant(step.learning_rate * w.decay);
    }
  }
  ENGINE_INLINE void operator()(vf& value, vf& gradient) const {
    if constexpr (Kind == Shrinkage::kSome) {
      gradient = fma(l2_slope, value, gradient);
      value = fma(-decay, value, value);
    }
  }
};

/// The step of one array of weights.
template <class Opt, Shrinkage Kind>
struct Update {
  Weights weights;
  typename Opt::Coefficients coefficients;
  Shrink<Kind> shrink;

  Update(const Weights& w, const typename Opt::Coefficients& c, const OptimizerStep& step)
      : weights(w), coefficients(c), shrink(w, step) {}

  /// Steps one vector. Adding +0 makes the bits independent of whether zero terms were skipped (microtile.h).
  static ENGINE_INLINE void step_vector(const Weights& w, int64_t at, vf sum, const Shrink<Kind>& shrink,
                                        const typename Opt::Coefficients& c) {
    constexpr int kSlots = Opt::kSlots;
    vf slots[kMaxSlots];
#pragma GCC unroll 2
    for (int s = 0; s < kSlots; ++s) slots[s] = load(w.slots[s] + at);
    vf value = load(w.values + at), gradient = sum + 0.0f;
    shrink(value, gradient);
    store(w.values + at, Opt::update(value, slots, gradient, c));
#pragma GCC unroll 2
    for (int s = 0; s < kSlots; ++s) store(w.slots[s] + at, slots[s]);
  }

  /// Steps `vectors` vectors in each of `rows` rows, `ld` apart, from offset `at` on, by gradient (rows, vectors).
  /// Not inlined: with the coefficients in registers a vector takes 8 cycles, the time of its square root and division;
  /// among the values of its caller they are spilled, and it takes 14.
  __attribute__((noinline)) void operator()(int64_t at, int64_t ld, const vf* gradient, int rows, int vectors) const {
    const auto c = coefficients;
    const auto shrinks = shrink;
    const Weights w = weights;
    for (int r = 0; r < rows; ++r, at += ld) {
      for (int v = 0; v < vectors; ++v, ++gradient) step_vector(w, at + v * kWidth, *gradient, shrinks, c);
    }
  }

  /// Steps `inputs` rows of `columns` columns, `ld` apart, by the outer product of x (inputs,) and dz (columns,).
  __attribute__((noinline)) void step_outer(int64_t at, int64_t ld, const float* x, int64_t inputs, const float* dz,
                                            int64_t columns) const {
    const auto c = coefficients;
    const auto shrinks = shrink;
    const Weights w = weights;
    for (int64_t u = 0; u < inputs; ++u, at += ld) {
      const vf factor = broadcast(x[u]);
      for (int64_t j = 0; j < columns; j += kWidth) step_vector(w, at + j, factor * load(dz + j), shrinks, c);
    }
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
