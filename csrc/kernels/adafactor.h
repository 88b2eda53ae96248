// Adafactor (Shazeer & Stern 2018) in Keras' form: the step is the gradient divided by the root of its running mean
// square v. Vectors keep v itself (formulas/optimizers.h). For matrices v is approximated by r c / mean(r), where r are
// running means over each row and c over each column; their kernels are here.
#pragma once
#include "kernels/optimizers.h"
#include "kernels/sums.h"

namespace engine::ENGINE_ISA {
namespace {

/// The running means r over rows.
void factored_rows(const FactoredMeans& op) {
  const double share = share_of_step(op.step);
  const int64_t stride = Panels(op.rows, op.n).of(0).width;
  for (int64_t i = op.range.begin; i < op.range.end; ++i) {
    const double squares = row_squares(const_cast<float*>(op.gradient), op.rows, op.n, i);
    op.of_rows[i * stride] = next_mean(op.of_rows[i * stride], squares, op.n, op.step, share);
  }
}

/// The running means c over columns.
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

/// v = r c / mean(r) and gradient /= sqrt(v), for part of a panel.
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

/// All of this for small matrices without padding, one number at a time, such as the gain of a normalization over two
/// axes.
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
