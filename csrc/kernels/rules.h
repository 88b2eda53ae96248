// Update rules of stored gradients, in Keras' forms; optimizers.h says what such a struct has.
#pragma once
#include "kernels/math.h"
#include "kernels/optimizers.h"

namespace engine::ENGINE_ISA {
namespace {

/// The larger; `most` where one is a NaN.
ENGINE_INLINE vf grown(vf most, vf x) { return most < x ? x : most; }

/// mean = b mean + (1 - b) x
ENGINE_INLINE vf running_mean(vf mean, vf x, vf b, vf rest) { return snap(fma(b, mean, rest * x)); }

/// Adam's m and v as they are, in the first two slots: running means of the gradient and of its square.
struct RunningMoments {
  vf beta1, rest1, beta2, rest2;

  RunningMoments(double b1, double b2)
      : beta1(constant(b1)), rest1(constant(1.0 - b1)), beta2(constant(b2)), rest2(constant(1.0 - b2)) {}
  ENGINE_INLINE void remember(vf* slots, vf g) const {
    slots[0] = running_mean(slots[0], g, beta1, rest1);
    slots[1] = running_mean(slots[1], g * g, beta2, rest2);
  }
};

/// Adam with the largest v so far in the place of v (Reddi et al. 2018).
struct Amsgrad : Adam {
  static constexpr Optimizer kKind = Optimizer::kAmsgrad;
  static constexpr int kSlots = slot_count(kKind);
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    remember(slots, g, c);
    slots[2] = grown(slots[2], slots[1]);
    return w - c.lr * slots[0] / (sqrt(slots[2]) + c.epsilon);
  }
};

/// v = rho v + (1 - rho) g^2; d = lr g / sqrt(v + eps), where `Centered` takes the square of the mean of g from v;
/// w -= d, or with `Heavy` u = momentum u + d; w -= u. Slots: v, u, the mean.
template <Optimizer Kind, bool Heavy, bool Centered>
struct Rmsprop {
  static constexpr Optimizer kKind = Kind;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, rho, rest, momentum, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double rho = step.parameters[0];
    return {constant(step.learning_rate), constant(rho), constant(1.0 - rho), constant(step.parameters[1]),
            constant(step.parameters[2])};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    slots[0] = running_mean(slots[0], g * g, c.rho, c.rest);
    vf v = slots[0];
    if constexpr (Centered) {
      vf& mean = slots[Heavy ? 2 : 1];
      mean = running_mean(mean, g, c.rho, c.rest);
      v = v - mean * mean;
    }
    const vf d = c.lr * g / sqrt(v + c.epsilon);
    if constexpr (!Heavy) return w - d;
    slots[1] = snap(fma(c.momentum, slots[1], d));
    return w - slots[1];
  }
};

/// Adamax (Kingma & Ba 2015, 7.1): m as Adam's; u = max(b2 u, |g|); w -= lr m / ((1 - b1^t) (u + eps))
struct Adamax {
  static constexpr Optimizer kKind = Optimizer::kAdamax;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, beta1, rest1, beta2, correction, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0];
    return {constant(step.learning_rate),
            constant(beta1),
            constant(1.0 - beta1),
            constant(step.parameters[1]),
            constant(1.0 - power(beta1, step.iteration)),
            constant(step.parameters[2])};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    slots[0] = running_mean(slots[0], g, c.beta1, c.rest1);
    slots[1] = snap(grown(c.beta2 * slots[1], abs(g)));
    return w - c.lr * slots[0] / (c.correction * (slots[1] + c.epsilon));
  }
};

/// Nadam (Dozat 2015): Adam's m and v; with u_t = b1 (1 - 0.96^t / 2) and P_t the product of u up to t,
/// w -= lr (u_(t+1) m / (1 - P_(t+1)) + (1 - u_t) g / (1 - P_t)) / (sqrt(v / (1 - b2^t)) + eps)
struct Nadam {
  static constexpr Optimizer kKind = Optimizer::kNadam;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    RunningMoments moments;
    vf lr, of_m, of_g, correction, epsilon;
  };
  static double momentum(double beta1, int64_t t) { return beta1 * (1.0 - 0.5 * power(0.96, t)); }
  static Coefficients coefficients(const OptimizerStep& step) {
    constexpr double kNothing = 0x1p-60;  // of 1 - P: what the factors left could still change
    const double beta1 = step.parameters[0], beta2 = step.parameters[1];
    double product = power(beta1, step.iteration);
    double decay = 1.0;
    for (int64_t t = 1; t <= step.iteration && product > kNothing && decay > kNothing; ++t) {
      decay *= 0.96;
      product *= 1.0 - 0.5 * decay;
    }
    const double now = momentum(beta1, step.iteration), next = momentum(beta1, step.iteration + 1);
    return {RunningMoments(beta1, beta2),
            constant(step.learning_rate),
            constant(next / (1.0 - product * next)),
            constant((1.0 - now) / (1.0 - product)),
            constant(1.0 - power(beta2, step.iteration)),
            constant(step.parameters[2])};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    c.moments.remember(slots, g);
    const vf m = fma(c.of_m, slots[0], c.of_g * g);
    return w - c.lr * m / (sqrt(slots[1] / c.correction) + c.epsilon);
  }
};

/// a += g^2; w -= lr g / sqrt(a + eps) (Duchi et al. 2011)
struct Adagrad {
  static constexpr Optimizer kKind = Optimizer::kAdagrad;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    return {constant(step.learning_rate), constant(step.parameters[0])};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    slots[0] = snap(fma(g, g, slots[0]));
    return w - c.lr * g / sqrt(slots[0] + c.epsilon);
  }
};

/// a = rho a + (1 - rho) g^2; d = -g sqrt(b + eps) / sqrt(a + eps); b = rho b + (1 - rho) d^2; w += lr d (Zeiler 2012)
struct Adadelta {
  static constexpr Optimizer kKind = Optimizer::kAdadelta;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, rho, rest, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double rho = step.parameters[0];
    return {constant(step.learning_rate), constant(rho), constant(1.0 - rho), constant(step.parameters[1])};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    slots[0] = running_mean(slots[0], g * g, c.rho, c.rest);
    const vf d = -(sqrt(slots[1] + c.epsilon) * g / sqrt(slots[0] + c.epsilon));
    slots[1] = running_mean(slots[1], d * d, c.rho, c.rest);
    return fma(c.lr, d, w);
  }
};

/// w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g (Chen et al. 2023)
struct Lion {
  static constexpr Optimizer kKind = Optimizer::kLion;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, beta1, rest1, beta2, rest2;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1];
    return {constant(step.learning_rate), constant(beta1), constant(1.0 - beta1), constant(beta2),
            constant(1.0 - beta2)};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    constexpr float kSmallest = 0x1p-125f;  // the sign of anything larger moves a weight by a whole step
    const vf direction = fma(c.beta1, slots[0], c.rest1 * g);
    const vf m = fma(c.beta2, slots[0], c.rest2 * g);
    slots[0] = abs(m) < kSmallest ? vf{} : m;
    return direction > 0.0f ? w - c.lr : direction < 0.0f ? w + c.lr : w + 0.0f * direction;
  }
};

/// FTRL-proximal (McMahan et al. 2013), with p = -learning_rate_power: b = a + g^2;
/// z += g + 2 shrinkage w - (b^p - a^p) / lr w; w = (clip(z, -l1, l1) - z) / (b^p / lr + 2 l2 + beta / lr); a = b
struct Ftrl {
  static constexpr Optimizer kKind = Optimizer::kFtrl;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, exponent, l1, ridge, shrinkage;
    bool root;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double exponent = step.parameters[0], beta = step.parameters[4];
    return {constant(step.learning_rate),       constant(exponent),
            constant(step.parameters[1]),       constant(2.0 * step.parameters[2] + beta / step.learning_rate),
            constant(2.0 * step.parameters[3]), exponent == 0.5};
  }
  static ENGINE_INLINE vf raised(vf x, const Coefficients& c) {
    if (c.root) return sqrt(x);
    const vf y = exp(c.exponent * log(x));
    return c.exponent == 0.0f ? broadcast(1.0f) : x == 0.0f ? vf{} : y;
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    const vf before = raised(slots[0], c);
    slots[0] = snap(fma(g, g, slots[0]));
    const vf after = raised(slots[0], c);
    const vf z = slots[1] + (fma(c.shrinkage, w, g) - (after - before) / c.lr * w);
    slots[1] = snap(z);
    const vf clipped = z > c.l1 ? c.l1 : z < -c.l1 ? -c.l1 : z;
    return (clipped - z) / (after / c.lr + c.ridge);
  }
};

/// Lamb (You et al. 2020): Adam's m and v, corrected for their start; direction m / (sqrt(v) + eps), to be scaled by
/// the norm of the weights over its own.
struct Lamb {
  static constexpr Optimizer kKind = Optimizer::kLamb;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    RunningMoments moments;
    vf correction1, correction2, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1];
    return {RunningMoments(beta1, beta2), constant(1.0 - power(beta1, step.iteration)),
            constant(1.0 - power(beta2, step.iteration)), constant(step.parameters[2])};
  }
  static ENGINE_INLINE vf update(vf, vf* slots, vf g, const Coefficients& c) {
    c.moments.remember(slots, g);
    return slots[0] / c.correction1 / (sqrt(slots[1] / c.correction2) + c.epsilon);
  }
};

/// Muon's direction (Jordan et al. 2024), before it is made orthogonal: m = momentum m + g, and g + momentum m in
/// Nesterov's form.
struct Muon {
  static constexpr Optimizer kKind = Optimizer::kMuon;
  static constexpr int kSlots = 1;
  struct Coefficients {
    vf momentum;
    bool nesterov;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    return {constant(step.parameters[0]), step.parameters[1] != 0.0};
  }
  static ENGINE_INLINE vf update(vf, vf* slots, vf g, const Coefficients& c) {
    slots[0] = snap(fma(c.momentum, slots[0], g));
    return c.nesterov ? fma(c.momentum, slots[0], g) : slots[0];
  }
};

/// Adam with a learning rate of its own; the slots hold m and v as they are.
struct MuonAdam {
  static constexpr Optimizer kKind = Optimizer::kMuonAdam;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    RunningMoments moments;
    vf lr, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[2], beta2 = step.parameters[3];
    const double lr = step.learning_rate * step.parameters[5] * __builtin_sqrt(1.0 - power(beta2, step.iteration)) /
                      (1.0 - power(beta1, step.iteration));
    return {RunningMoments(beta1, beta2), constant(lr), constant(step.parameters[4])};
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    c.moments.remember(slots, g);
    return w - c.lr * slots[0] / (sqrt(slots[1]) + c.epsilon);
  }
};

/// Schedule-free AdamW (Defazio et al. 2024) in Keras' form. The weights y lie between z, which takes the steps, and x,
/// the mean of all z so far: x = (y - (1 - b1) z) / b1; v = b2 v + (1 - b2) g^2;
/// z -= lr min(t / warmup, 1) g / (sqrt(v / (1 - b2^t)) + eps); x += (z - x) / t; y = (1 - b1) z + b1 x.
/// Slots: z, which starts as the weights before they decay, and v.
struct ScheduleFreeAdamW {
  static constexpr Optimizer kKind = Optimizer::kScheduleFreeAdamW;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    vf lr, beta1, rest1, beta2, rest2, correction, epsilon, share, rest;
    bool starts;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1], warmup = step.parameters[3];
    const auto t = static_cast<double>(step.iteration);
    const double lr = step.learning_rate * (t < warmup ? t / warmup : 1.0);
    return {constant(lr),
            constant(beta1),
            constant(1.0 - beta1),
            constant(beta2),
            constant(1.0 - beta2),
            constant(1.0 - power(beta2, step.iteration)),
            constant(step.parameters[2]),
            constant(1.0 / t),
            constant(1.0 - 1.0 / t),
            step.iteration == 1};
  }
  static ENGINE_INLINE void start(vf w, vf* slots, const Coefficients& c) {
    if (c.starts) slots[0] = w;
  }
  static ENGINE_INLINE vf update(vf w, vf* slots, vf g, const Coefficients& c) {
    const vf x = (w - c.rest1 * slots[0]) / c.beta1;
    slots[1] = running_mean(slots[1], g * g, c.beta2, c.rest2);
    const vf z = slots[0] - c.lr * g / (sqrt(slots[1] / c.correction) + c.epsilon);
    slots[0] = snap(z);
    return fma(c.rest1, z, c.beta1 * fma(c.rest, x, c.share * z));
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
