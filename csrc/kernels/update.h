// Weights stepped by their gradient, a tile at a time, while it is in the L1 cache.
#pragma once
#include <type_traits>

#include "kernels/optimizers.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// What pulls weights towards zero: the slope of an l2 penalty joins the gradient, decoupled decay (Loshchilov &
/// Hutter 2019) shortens the weights before the step, as in Keras. Both are exact no-ops at zero.
template <Shrinkage Kind>
struct Pull {
  vf l2_slope{}, decay{};

  Pull(const Weights& w, const OptimizerStep& step) {
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
  Pull<Kind> pull;

  Update(const Weights& w, const typename Opt::Coefficients& c, const OptimizerStep& step)
      : weights(w), coefficients(c), pull(w, step) {}

  /// Adding +0 makes the bits independent of whether zero terms were skipped.
  static ENGINE_INLINE void step_vector(const Weights& w, int64_t at, vf gradient, const Pull<Kind>& pull,
                                        const typename Opt::Coefficients& c) {
    constexpr int kSlots = Opt::kSlots;
    vf slots[kMaxSlots];
#pragma GCC unroll 2
    for (int s = 0; s < kSlots; ++s) slots[s] = load(w.slots[s] + at);
    vf value = load(w.values + at), slope = gradient + 0.0f;
    pull(value, slope);
    store(w.values + at, Opt::update(value, slots, slope, c));
#pragma GCC unroll 2
    for (int s = 0; s < kSlots; ++s) store(w.slots[s] + at, slots[s]);
  }

  /// Steps `vectors` vectors in each of `rows` rows, `ld` apart, from offset `at` on, by gradient (rows, vectors).
  /// Not inlined: with the constants in registers a vector takes 8 cycles, the time of its square root and division,
  /// and 14 among the products of its caller.
  __attribute__((noinline)) void operator()(int64_t at, int64_t ld, const vf* gradient, int rows, int vectors) const {
    const auto c = coefficients;
    const auto pulled = pull;
    const Weights w = weights;
    for (int r = 0; r < rows; ++r, at += ld) {
      for (int v = 0; v < vectors; ++v, ++gradient) step_vector(w, at + v * kWidth, *gradient, pulled, c);
    }
  }

  /// Steps `units` rows of `columns` columns, `ld` apart, by the outer product of x (units,) and dz (columns,).
  __attribute__((noinline)) void step_outer(int64_t at, int64_t ld, const float* x, int64_t units, const float* dz,
                                            int64_t columns) const {
    const auto c = coefficients;
    const auto pulled = pull;
    const Weights w = weights;
    for (int64_t u = 0; u < units; ++u, at += ld) {
      const vf input = broadcast(x[u]);
      for (int64_t j = 0; j < columns; j += kWidth) step_vector(w, at + j, input * load(dz + j), pulled, c);
    }
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
