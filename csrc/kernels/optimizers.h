// Update rules that products may end with (rules.h has the others): `coefficients` once per step, `update` per vector
// of weights while the gradient is in registers. State below 2^-100 is snapped to zero, so that no bit depends on how a
// CPU treats denormals.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

ENGINE_INLINE vf snap(vf slot) {
  constexpr float kNegligible = 0x1p-100f;
  return abs(slot) < kNegligible ? vf{} : slot;
}

inline double power(double base, int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 == 1) result *= base;
  }
  return result;
}

/// A number that coefficients are computed to in double.
inline vf constant(double x) { return broadcast(static_cast<float>(x)); }

/// No step: what takes the place of the weights becomes the gradient.
struct StoreGradient {
  static constexpr int kSlots = 0;
  struct Coefficients {};
  static Coefficients coefficients(const OptimizerStep&) { return {}; }
  static ENGINE_INLINE vf update(vf, vf*, vf g, const Coefficients&) { return g; }
};

/// w -= lr g
struct Sgd {
  static constexpr Optimizer kKind = Optimizer::kSgd;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr;
  };
  static Coefficients coefficients(const OptimizerStep& step) { return {constant(step.learning_rate)}; }
  static ENGINE_INLINE vf update(vf w, vf*, vf g, const Coefficients& c) { return fma(-c.lr, g, w); }
};

/// v = momentum v - lr g; w += v (Polyak), or w += momentum v - lr g (Nesterov, in Keras' form)
template <Optimizer Kind>
struct MomentumSgd {
  static constexpr Optimizer kKind = Kind;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, momentum;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    return {constant(step.learning_rate), constant(step.parameters[0])};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    const vf step = -(c.lr * g);
    const vf v = snap(fma(c.momentum, slots[0], step));
    slots[0] = v;
    return Kind == Optimizer::kNesterov ? w + fma(c.momentum, v, step) : w + v;
  }
};
using Momentum = MomentumSgd<Optimizer::kMomentum>;
using Nesterov = MomentumSgd<Optimizer::kNesterov>;

/// Adam (Kingma & Ba 2015) in Keras' form, where epsilon is not bias-corrected:
/// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps).
/// The slots hold m / (1 - b1) and v / (1 - b2), which saves two multiplies; lr and eps take the factors.
struct Adam {
  static constexpr Optimizer kKind = Optimizer::kAdam;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, beta1, beta2, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1], epsilon = step.parameters[2];
    const double root = __builtin_sqrt(1.0 - beta2);
    const double lr = step.learning_rate * __builtin_sqrt(1.0 - power(beta2, step.iteration)) /
                      (1.0 - power(beta1, step.iteration)) * (1.0 - beta1) / root;
    return {constant(lr), constant(beta1), constant(beta2), constant(epsilon / root)};
  }
  static ENGINE_INLINE void remember(vf* slots, vf g, const Coefficients& c) {
    slots[0] = snap(fma(c.beta1, slots[0], g));
    slots[1] = snap(fma(g, g, c.beta2 * slots[1]));
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    remember(slots, g, c);
    return w - c.lr * slots[0] / (sqrt(slots[1]) + c.epsilon);
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
