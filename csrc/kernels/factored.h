// Adafactor (Shazeer & Stern 2018) in Keras' form: a gradient divided by the root of its mean square v, which is kept
// of vectors, and of matrices put together from running means over rows and columns.
#pragma once
#include "kernels/rules.h"
#include "kernels/sums.h"

namespace engine::ENGINE_ISA {
namespace {

/// x^p for x >= 1 and p <= 0, to a few ulp of double, from additions, multiplications and divisions alone: x = m 2^e
/// with m in [sqrt(1/2), sqrt(2)), log(m) = 2 artanh((m - 1) / (m + 1)); exp(y) = 2^n exp(y - n ln 2).
inline double real_power(double x, double p) {
  constexpr double kLn2 = 0.6931471805599453, kLn2High = 0.693147180369123816490, kLn2Low = 1.90821492927058770002e-10;
  constexpr double kSqrtTwo = 1.4142135623730951;
  constexpr double kNothing = -700.0;  // of which exp is hardly a double any more
  constexpr int kTerms = 12, kExpTerms = 15;
  double e = 0.0;
  for (; x >= kSqrtTwo; x *= 0.5) e += 1.0;
  const double s = (x - 1.0) / (x + 1.0), square = s * s;
  double series = 0.0;
  for (int k = kTerms - 1; k >= 0; --k) series = series * square + 1.0 / (2 * k + 1);
  const double y = p * (e * kLn2High + (2.0 * s * series + e * kLn2Low));
  if (y < kNothing) return 0.0;
  const auto n = static_cast<int64_t>(y / kLn2 - 0.5);
  const double r = (y - static_cast<double>(n) * kLn2High) - static_cast<double>(n) * kLn2Low;
  double result = 1.0;
  for (int k = kExpTerms - 1; k >= 1; --k) result = result * r / k + 1.0;
  return result / power(2.0, -n);
}

/// What this step has of the running means: t^decay, decay < 0; the first step all.
inline double share_of_step(const OptimizerStep& step) {
  return real_power(static_cast<double>(step.iteration), -step.parameters[0]);
}

struct Adafactor {
  static constexpr Optimizer kKind = Optimizer::kAdafactor;
  static constexpr int kSlots = 1;
  struct Coefficients {
    vf keep, rest, epsilon;
  };
  static Coefficients coefficients(const OptimizerStep& step) {
    const double rest = share_of_step(step);
    return {constant(1.0 - rest), constant(rest), constant(step.parameters[1])};
  }
  static ENGINE_INLINE vf update(vf, vf* slots, vf g, const Coefficients& c) {
    slots[0] = fma(c.keep, slots[0], c.rest * fma(g, g, c.epsilon));
    return g / sqrt(slots[0]);
  }
};

/// The clipped gradient, for the means.
struct Factored {
  static constexpr Optimizer kKind = Optimizer::kFactored;
  static constexpr int kSlots = 0;
  struct Coefficients {};
  static Coefficients coefficients(const OptimizerStep&) { return {}; }
  static ENGINE_INLINE vf update(vf, vf*, vf g, const Coefficients&) { return g; }
};

/// mean = (1 - share) mean + share (squares / count + epsilon)
inline float next_mean(float mean, double squares, int64_t count, const OptimizerStep& step, double share) {
  const double now = squares / static_cast<double>(count) + step.parameters[1];
  return static_cast<float>((1.0 - share) * static_cast<double>(mean) + share * now);
}

void factored_rows(const FactoredMeans& op) {
  const double share = share_of_step(op.step);
  const int64_t stride = Panels(op.rows, op.n).of(0).width;
  for (int64_t i = op.range.begin; i < op.range.end; ++i) {
    const double squares = row_squares(const_cast<float*>(op.gradient), op.rows, op.n, i);
    op.of_rows[i * stride] = next_mean(op.of_rows[i * stride], squares, op.n, op.step, share);
  }
}

void factored_columns(const FactoredMeans& op) {
  const double share = share_of_step(op.step);
  const Panels panels(op.rows, op.n);
  for (int64_t j = op.range.begin; j < op.range.end; j += kLane) {
    const Panel panel = panels.of(j);
    const int64_t at = panel.offset + (j - panel.first);
    float sums[kLane];
    column_sums<Square>({op.gradient + at, panel.width, op.rows, sums, {0, kLane}});
    for (int64_t l = 0; l < kLane; ++l) {
      float& mean = op.of_columns[at + l];
      mean = next_mean(mean, static_cast<double>(sums[l]), op.rows, op.step, share);
    }
  }
}

void factored_direction(const FactoredDirection& op) {
  for (int64_t i = op.rows.begin; i < op.rows.end; ++i) {
    const vf row = broadcast(op.of_rows[i * op.row_stride] / op.mean);
    for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
      const int64_t at = i * op.ld + j;
      const vf v = row * load(op.of_columns + j);
      store(op.v + at, v);
      store(op.gradient + at, load(op.gradient + at) / sqrt(v));
    }
  }
}

/// Of weights whose number doesn't pay for vectors, such as the gain of a normalization over two axes.
void factored_flat(const FactoredFlat& op) {
  const double share = share_of_step(op.step);
  const auto square = [](float x) { return static_cast<double>(x) * static_cast<double>(x); };
  for (int64_t m = 0; m < op.matrices; ++m) {
    const int64_t first = m * op.rows * op.n;
    float *g = op.gradient + first, *v = op.v + first, *r = op.of_rows + first, *c = op.of_columns + first;
    double total = 0.0;
    for (int64_t i = 0; i < op.rows; ++i) {
      double squares = 0.0;
      for (int64_t j = 0; j < op.n; ++j) squares += square(g[i * op.n + j]);
      r[i * op.n] = next_mean(r[i * op.n], squares, op.n, op.step, share);
      total += static_cast<double>(r[i * op.n]);
    }
    for (int64_t j = 0; j < op.n; ++j) {
      double squares = 0.0;
      for (int64_t i = 0; i < op.rows; ++i) squares += square(g[i * op.n + j]);
      c[j] = next_mean(c[j], squares, op.rows, op.step, share);
    }
    const auto mean = static_cast<float>(total / static_cast<double>(op.rows));
    for (int64_t i = 0; i < op.rows; ++i) {
      for (int64_t j = 0; j < op.n; ++j) {
        v[i * op.n + j] = r[i * op.n] / mean * c[j];
        g[i * op.n + j] /= __builtin_sqrtf(v[i * op.n + j]);
      }
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
