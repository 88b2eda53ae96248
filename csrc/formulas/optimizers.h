// Update rules of optimizers. Each is a struct with `coefficients`, which derives the constants of one step in double,
// and `update`, which returns the new weights, given the weights w, their state (`kSlots` numbers) and the gradient g.
// Where `gives_direction` in kinds.h says so it returns the direction of the step instead. lr is the learning rate, t
// the number of the step, from 1. State below 2^-100 becomes zero, so that no bit depends on how a device treats
// denormals.
#pragma once
#include "formulas/elementary.h"
#include "formulas/kinds.h"

namespace engine::formulas {
namespace {

template <class V>
ENGINE_INLINE V snap(V slot) {
  constexpr float kNegligible = 0x1p-100f;
  return abs(slot) < kNegligible ? V{} : slot;
}

inline double integer_power(double base, int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 == 1) result *= base;
  }
  return result;
}

/// A coefficient, which is computed in double and rounded once.
template <class V>
inline V constant(double x) {
  return broadcast<V>(static_cast<float>(x));
}

/// No step: the gradient takes the place of the weights.
template <class V>
struct StoreGradient {
  static constexpr int kSlots = 0;
  struct Coefficients {};
  static Coefficients coefficients(const OptimizerStep&) { return {}; }
  static ENGINE_INLINE V update(V, V*, V g, const Coefficients&) { return g; }
};

/// w -= lr g.
template <class V>
struct Sgd {
  static constexpr Optimizer kKind = Optimizer::kSgd;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr;
  };
  static Coefficients coefficients(const OptimizerStep& step) { return {constant<V>(step.learning_rate)}; }
  static ENGINE_INLINE V update(V w, V*, V g, const Coefficients& c) { return fma(-c.lr, g, w); }
};

/// v = momentum v - lr g; then w += v (Polyak 1964), or w += momentum v - lr g (Nesterov, in Keras' form). Slots: v.
template <class V, Optimizer Kind>
struct MomentumSgd {
  static constexpr Optimizer kKind = Kind;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, momentum;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    return {constant<V>(step.learning_rate), constant<V>(step.parameters[0])};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    const V step = -(c.lr * g);
    const V v = snap(fma(c.momentum, slots[0], step));
    slots[0] = v;
    return Kind == Optimizer::kNesterov ? w + fma(c.momentum, v, step) : w + v;
  }
};
template <class V>
using Momentum = MomentumSgd<V, Optimizer::kMomentum>;
template <class V>
using Nesterov = MomentumSgd<V, Optimizer::kNesterov>;

/// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon), in
/// Keras' form, where epsilon is not corrected for the bias. The slots hold m / (1 - b1) and v / (1 - b2), which saves
/// two multiplications; lr and epsilon take over the factors. Parameters: b1, b2, epsilon. (Kingma & Ba 2015)
template <class V>
struct Adam {
  static constexpr Optimizer kKind = Optimizer::kAdam;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, beta1, beta2, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1], epsilon = step.parameters[2];
    const double root = __builtin_sqrt(1.0 - beta2);
    const double lr = step.learning_rate * __builtin_sqrt(1.0 - integer_power(beta2, step.iteration)) /
                      (1.0 - integer_power(beta1, step.iteration)) * (1.0 - beta1) / root;
    return {constant<V>(lr), constant<V>(beta1), constant<V>(beta2), constant<V>(epsilon / root)};
  }
  static ENGINE_INLINE void remember(V* slots, V g, const Coefficients& c) {
    slots[0] = snap(fma(c.beta1, slots[0], g));
    slots[1] = snap(fma(g, g, c.beta2 * slots[1]));
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    remember(slots, g, c);
    return w - c.lr * slots[0] / (sqrt(slots[1]) + c.epsilon);
  }
};

/// The larger; `most` where one is a NaN.
template <class V>
ENGINE_INLINE V grown(V most, V x) {
  return most < x ? x : most;
}

/// mean = b mean + (1 - b) x
template <class V>
ENGINE_INLINE V running_mean(V mean, V x, V b, V rest) {
  return snap(fma(b, mean, rest * x));
}

/// The running means of the gradient (m) and of its square (v), in the first two slots.
template <class V>
struct RunningMoments {
  V beta1, rest1, beta2, rest2;

  RunningMoments(double b1, double b2)
      : beta1(constant<V>(b1)), rest1(constant<V>(1.0 - b1)), beta2(constant<V>(b2)), rest2(constant<V>(1.0 - b2)) {}
  ENGINE_INLINE void remember(V* slots, V g) const {
    slots[0] = running_mean(slots[0], g, beta1, rest1);
    slots[1] = running_mean(slots[1], g * g, beta2, rest2);
  }
};

/// Adam with the largest v so far in the place of v. Slots: Adam's, the largest v / (1 - b2). (Reddi et al. 2018)
template <class V>
struct Amsgrad : Adam<V> {
  using typename Adam<V>::Coefficients;
  static constexpr Optimizer kKind = Optimizer::kAmsgrad;
  static constexpr int kSlots = slot_count(kKind);
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    Adam<V>::remember(slots, g, c);
    slots[2] = grown(slots[2], slots[1]);
    return w - c.lr * slots[0] / (sqrt(slots[2]) + c.epsilon);
  }
};

/// v = rho v + (1 - rho) g^2; d = lr g / sqrt(v + epsilon), where `Centered` first subtracts the square of the running
/// mean of g from v; w -= d, or with `HasMomentum` u = momentum u + d; w -= u. Slots: v, u, the mean. Parameters: rho,
/// momentum, epsilon. (Tieleman & Hinton 2012)
template <class V, Optimizer Kind, bool HasMomentum, bool Centered>
struct Rmsprop {
  static constexpr Optimizer kKind = Kind;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, rho, rest, momentum, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double rho = step.parameters[0];
    return {constant<V>(step.learning_rate), constant<V>(rho), constant<V>(1.0 - rho), constant<V>(step.parameters[1]),
            constant<V>(step.parameters[2])};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    slots[0] = running_mean(slots[0], g * g, c.rho, c.rest);
    V v = slots[0];
    if constexpr (Centered) {
      V& mean = slots[HasMomentum ? 2 : 1];
      mean = running_mean(mean, g, c.rho, c.rest);
      v = v - mean * mean;
    }
    const V d = c.lr * g / sqrt(v + c.epsilon);
    if constexpr (!HasMomentum) return w - d;
    slots[1] = snap(fma(c.momentum, slots[1], d));
    return w - slots[1];
  }
};

/// m = b1 m + (1 - b1) g; u = max(b2 u, |g|); w -= lr m / ((1 - b1^t) (u + epsilon)). Slots: m, u. Parameters: b1, b2,
/// epsilon. (Kingma & Ba 2015, section 7.1)
template <class V>
struct Adamax {
  static constexpr Optimizer kKind = Optimizer::kAdamax;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, beta1, rest1, beta2, correction, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0];
    return {constant<V>(step.learning_rate),
            constant<V>(beta1),
            constant<V>(1.0 - beta1),
            constant<V>(step.parameters[1]),
            constant<V>(1.0 - integer_power(beta1, step.iteration)),
            constant<V>(step.parameters[2])};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    slots[0] = running_mean(slots[0], g, c.beta1, c.rest1);
    slots[1] = snap(grown(c.beta2 * slots[1], abs(g)));
    return w - c.lr * slots[0] / (c.correction * (slots[1] + c.epsilon));
  }
};

/// Adam's m and v; with u_t = b1 (1 - 0.96^t / 2) and P_t the product of u_1 ... u_t,
/// w -= lr (u_(t+1) m / (1 - P_(t+1)) + (1 - u_t) g / (1 - P_t)) / (sqrt(v / (1 - b2^t)) + epsilon). (Dozat 2016)
template <class V>
struct Nadam {
  static constexpr Optimizer kKind = Optimizer::kNadam;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    RunningMoments<V> moments;
    V lr, of_m, of_g, correction, epsilon;
  };
  static double momentum(double beta1, int64_t t) { return beta1 * (1.0 - 0.5 * integer_power(0.96, t)); }
  static Coefficients coefficients(const OptimizerStep& step) {
    constexpr double kNothing = 0x1p-60;  // below which the factors that are left no longer change 1 - P
    const double beta1 = step.parameters[0], beta2 = step.parameters[1];
    double product = integer_power(beta1, step.iteration);
    double decay = 1.0;
    for (int64_t t = 1; t <= step.iteration && product > kNothing && decay > kNothing; ++t) {
      decay *= 0.96;
      product *= 1.0 - 0.5 * decay;
    }
    const double now = momentum(beta1, step.iteration), next = momentum(beta1, step.iteration + 1);
    return {RunningMoments<V>(beta1, beta2),
            constant<V>(step.learning_rate),
            constant<V>(next / (1.0 - product * next)),
            constant<V>((1.0 - now) / (1.0 - product)),
            constant<V>(1.0 - integer_power(beta2, step.iteration)),
            constant<V>(step.parameters[2])};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    c.moments.remember(slots, g);
    const V m = fma(c.of_m, slots[0], c.of_g * g);
    return w - c.lr * m / (sqrt(slots[1] / c.correction) + c.epsilon);
  }
};

/// a += g^2; w -= lr g / sqrt(a + epsilon). Slots: a. (Duchi et al. 2011)
template <class V>
struct Adagrad {
  static constexpr Optimizer kKind = Optimizer::kAdagrad;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    return {constant<V>(step.learning_rate), constant<V>(step.parameters[0])};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    slots[0] = snap(fma(g, g, slots[0]));
    return w - c.lr * g / sqrt(slots[0] + c.epsilon);
  }
};

/// a = rho a + (1 - rho) g^2; d = -g sqrt(b + epsilon) / sqrt(a + epsilon); b = rho b + (1 - rho) d^2; w += lr d.
/// Slots: a, b. (Zeiler 2012)
template <class V>
struct Adadelta {
  static constexpr Optimizer kKind = Optimizer::kAdadelta;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, rho, rest, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double rho = step.parameters[0];
    return {constant<V>(step.learning_rate), constant<V>(rho), constant<V>(1.0 - rho), constant<V>(step.parameters[1])};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    slots[0] = running_mean(slots[0], g * g, c.rho, c.rest);
    const V d = -(sqrt(slots[1] + c.epsilon) * g / sqrt(slots[0] + c.epsilon));
    slots[1] = running_mean(slots[1], d * d, c.rho, c.rest);
    return fma(c.lr, d, w);
  }
};

/// w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g. Slots: m. (Chen et al. 2023)
template <class V>
struct Lion {
  static constexpr Optimizer kKind = Optimizer::kLion;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, beta1, rest1, beta2, rest2;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1];
    return {constant<V>(step.learning_rate), constant<V>(beta1), constant<V>(1.0 - beta1), constant<V>(beta2),
            constant<V>(1.0 - beta2)};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    constexpr float kSmallest = 0x1p-125f;  // the sign of anything larger moves a weight by a whole step
    const V direction = fma(c.beta1, slots[0], c.rest1 * g);
    const V m = fma(c.beta2, slots[0], c.rest2 * g);
    slots[0] = abs(m) < kSmallest ? V{} : m;
    return direction > 0.0f ? w - c.lr : direction < 0.0f ? w + c.lr : w + 0.0f * direction;
  }
};

/// With p = -learning_rate_power: b = a + g^2; z += g + 2 shrinkage w - (b^p - a^p) / lr w;
/// w = (clip(z, -l1, l1) - z) / (b^p / lr + 2 l2 + beta / lr); a = b. Slots: a, z. Parameters: p, l1, l2, shrinkage,
/// beta. (McMahan et al. 2013)
template <class V>
struct Ftrl {
  static constexpr Optimizer kKind = Optimizer::kFtrl;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, exponent, l1, ridge, shrinkage;
    bool root;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double exponent = step.parameters[0], beta = step.parameters[4];
    return {constant<V>(step.learning_rate),       constant<V>(exponent),
            constant<V>(step.parameters[1]),       constant<V>(2.0 * step.parameters[2] + beta / step.learning_rate),
            constant<V>(2.0 * step.parameters[3]), exponent == 0.5};
  }
  static ENGINE_INLINE V raised(V x, const Coefficients& c) {
    if (c.root) return sqrt(x);
    const V y = exp(c.exponent * log(x));
    return c.exponent == 0.0f ? broadcast<V>(1.0f) : x == 0.0f ? V{} : y;
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    const V before = raised(slots[0], c);
    slots[0] = snap(fma(g, g, slots[0]));
    const V after = raised(slots[0], c);
    const V z = slots[1] + (fma(c.shrinkage, w, g) - (after - before) / c.lr * w);
    slots[1] = snap(z);
    const V clipped = z > c.l1 ? c.l1 : z < -c.l1 ? -c.l1 : z;
    return (clipped - z) / (after / c.lr + c.ridge);
  }
};

/// Adam's m and v. Gives the direction m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon), which is then scaled by the
/// norm of the weights over its own norm. (You et al. 2020)
template <class V>
struct Lamb {
  static constexpr Optimizer kKind = Optimizer::kLamb;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    RunningMoments<V> moments;
    V correction1, correction2, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1];
    return {RunningMoments<V>(beta1, beta2), constant<V>(1.0 - integer_power(beta1, step.iteration)),
            constant<V>(1.0 - integer_power(beta2, step.iteration)), constant<V>(step.parameters[2])};
  }
  static ENGINE_INLINE V update(V, V* slots, V g, const Coefficients& c) {
    c.moments.remember(slots, g);
    return slots[0] / c.correction1 / (sqrt(slots[1] / c.correction2) + c.epsilon);
  }
};

/// m = momentum m + g. Gives the direction m, or g + momentum m in Nesterov's form, which is then made orthogonal
/// (graph/learning.cpp).
/// (Jordan et al. 2024)
template <class V>
struct Muon {
  static constexpr Optimizer kKind = Optimizer::kMuon;
  static constexpr int kSlots = 1;
  struct Coefficients {
    V momentum;
    bool nesterov;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    return {constant<V>(step.parameters[0]), step.parameters[1] != 0.0};
  }
  static ENGINE_INLINE V update(V, V* slots, V g, const Coefficients& c) {
    slots[0] = snap(fma(c.momentum, slots[0], g));
    return c.nesterov ? fma(c.momentum, slots[0], g) : slots[0];
  }
};

/// Adam with a learning rate of its own, for the weights that Muon does not step. The slots hold m and v themselves.
template <class V>
struct MuonAdam {
  static constexpr Optimizer kKind = Optimizer::kMuonAdam;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    RunningMoments<V> moments;
    V lr, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[2], beta2 = step.parameters[3];
    const double lr = step.learning_rate * step.parameters[5] *
                      __builtin_sqrt(1.0 - integer_power(beta2, step.iteration)) /
                      (1.0 - integer_power(beta1, step.iteration));
    return {RunningMoments<V>(beta1, beta2), constant<V>(lr), constant<V>(step.parameters[4])};
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    c.moments.remember(slots, g);
    return w - c.lr * slots[0] / (sqrt(slots[1]) + c.epsilon);
  }
};

/// The weights y lie between z, which takes the steps, and x, the mean of all z so far: x = (y - (1 - b1) z) / b1;
/// v = b2 v + (1 - b2) g^2; z -= lr min(t / warmup, 1) g / (sqrt(v / (1 - b2^t)) + epsilon); x += (z - x) / t;
/// y = (1 - b1) z + b1 x, in Keras' form. Slots: z, which starts as the weights before they decay, and v.
/// (Defazio et al. 2024)
template <class V>
struct ScheduleFreeAdamW {
  static constexpr Optimizer kKind = Optimizer::kScheduleFreeAdamW;
  static constexpr int kSlots = slot_count(kKind);
  struct Coefficients {
    V lr, beta1, rest1, beta2, rest2, correction, epsilon, share, rest;
    bool starts;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double beta1 = step.parameters[0], beta2 = step.parameters[1], warmup = step.parameters[3];
    const auto t = static_cast<double>(step.iteration);
    const double lr = step.learning_rate * (t < warmup ? t / warmup : 1.0);
    return {constant<V>(lr),
            constant<V>(beta1),
            constant<V>(1.0 - beta1),
            constant<V>(beta2),
            constant<V>(1.0 - beta2),
            constant<V>(1.0 - integer_power(beta2, step.iteration)),
            constant<V>(step.parameters[2]),
            constant<V>(1.0 / t),
            constant<V>(1.0 - 1.0 / t),
            step.iteration == 1};
  }
  static ENGINE_INLINE void start(V w, V* slots, const Coefficients& c) {
    if (c.starts) slots[0] = w;
  }
  static ENGINE_INLINE V update(V w, V* slots, V g, const Coefficients& c) {
    const V x = (w - c.rest1 * slots[0]) / c.beta1;
    slots[1] = running_mean(slots[1], g * g, c.beta2, c.rest2);
    const V z = slots[0] - c.lr * g / (sqrt(slots[1] / c.correction) + c.epsilon);
    slots[0] = snap(z);
    return fma(c.rest1, z, c.beta1 * fma(c.rest, x, c.share * z));
  }
};

/// The clipped gradient. What Adafactor makes of it depends on whole rows and columns (graph/learning.cpp).
template <class V>
struct Adafactor {
  static constexpr Optimizer kKind = Optimizer::kAdafactor;
  static constexpr int kSlots = 0;
  struct Coefficients {};
  static Coefficients coefficients(const OptimizerStep&) { return {}; }
  static ENGINE_INLINE V update(V, V*, V g, const Coefficients&) { return g; }
};

/// All of them, in the order of the enum.
template <class V>
using Optimizers =
    Types<Sgd<V>, Momentum<V>, Nesterov<V>, Adam<V>, Amsgrad<V>, Rmsprop<V, Optimizer::kRmsprop, false, false>,
          Rmsprop<V, Optimizer::kRmspropMomentum, true, false>, Rmsprop<V, Optimizer::kRmspropCentered, false, true>,
          Rmsprop<V, Optimizer::kRmspropCenteredMomentum, true, true>, Adamax<V>, Nadam<V>, Adagrad<V>, Adadelta<V>,
          Lion<V>, Ftrl<V>, Lamb<V>, Adafactor<V>, Muon<V>, MuonAdam<V>, ScheduleFreeAdamW<V>>;

}  // namespace
}  // namespace engine::formulas
