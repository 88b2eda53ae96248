// Factors that norms of weights, gradients and directions give: clipping, the length of a step, constraints. `squares`
// are sums of squares. A norm of NaN gives a factor of NaN.
#pragma once
#include "formulas/kinds.h"
#include "formulas/number.h"

namespace engine::formulas {
namespace {

/// Keras' guard against a norm of zero, `backend.epsilon()`
constexpr double kNormEpsilon = 1e-7;

/// Correctly rounded.
ENGINE_INLINE double root(double x) { return __builtin_sqrt(x); }
/// As std::max: the first where one is NaN.
ENGINE_INLINE double larger(double a, double b) { return a < b ? b : a; }

/// Limits the norm of a gradient: `clipnorm` and `global_clipnorm`.
ENGINE_INLINE double clip_factor(double squares, double limit) { return limit / larger(root(squares), limit); }

/// Lamb's length of a step: the norm of the weights over that of the direction.
ENGINE_INLINE double trust_length(const OptimizerStep& step, double weight_squares, double direction_squares) {
  const double w = root(weight_squares), u = root(direction_squares);
  return step.learning_rate * (w > 0.0 && u > 0.0 ? w / u : 1.0);
}

/// Adafactor's length of a step, by the root mean squares of weights and direction.
ENGINE_INLINE double adafactor_length(const OptimizerStep& step, double weight_squares, double direction_squares,
                                      int64_t weights) {
  const auto count = static_cast<double>(weights);
  const double w = root(weight_squares / count), u = root(direction_squares / count);
  const double smallest = step.parameters[2], threshold = step.parameters[3];
  const double slowest = 1.0 / root(static_cast<double>(step.iteration));
  const double rate = slowest < step.learning_rate ? slowest : step.learning_rate;
  return rate * larger(smallest, w) / larger(1.0, u / threshold);
}

/// Constrains a norm to `rate clip(norm, low, high) + (1 - rate) norm`.
ENGINE_INLINE float constraint_factor(double squares, const NormLimits& limits) {
  const double norm = root(squares);
  const double clipped = norm < limits.low ? limits.low : norm > limits.high ? limits.high : norm;
  return static_cast<float>((limits.rate * clipped + (1.0 - limits.rate) * norm) / (kNormEpsilon + norm));
}

}  // namespace
}  // namespace engine::formulas
