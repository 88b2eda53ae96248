// Penalties on weights and on what passes between layers: their sums and slopes.
#include <algorithm>
#include <numeric>

#include "cpu/steps.h"

namespace engine {

void StepRunner::penalty(const Step& step, const Batch& batch) const {
  const Variable& w = variable(step.kernel);
  const float* values = weights(step.kernel).values;
  float* sums = data(step.out, batch);
  const bool squares = plan_.penalties[static_cast<size_t>(step.index)].kind == Penalty::Kind::kSquares;
  const auto sum = squares ? kernels_.squared_sums : kernels_.magnitude_sums;
  if (step.split == Split::kUnits) {
    Panels(w.rows, w.columns).each(columns(step, w.columns), [&](const Panel& panel) {
      sum({values + panel.offset, panel.width, w.rows, sums + panel.first, panel.columns});
    });
    return;
  }
  const Range own = worker_.slice(w.rows);
  for (int64_t i = own.begin; i < own.end; i += kSlice) {
    alignas(64) float of_columns[kLane];
    sum({values + i * kLane, kLane, std::min(kSlice, own.end - i), of_columns, {0, kLane}});
    sums[i / kSlice] = std::accumulate(of_columns, of_columns + w.columns, 0.0f);
  }
}

/// In the order of the sums, by whoever asks.
double StepRunner::penalties(const Batch& batch) const {
  double total = 0.0;
  for (const Penalty& penalty : plan_.penalties) {
    const float* sums = data(penalty.sums, batch);
    total += penalty.factor * std::accumulate(sums, sums + shape(penalty.sums).columns, 0.0);
  }
  return total;
}

double StepRunner::penalty_factor(const Batch& batch) const {
  if (!frame_.training->loss.divides_penalties) return 1.0;
  const double divisor = loss_divisor(batch);
  return divisor == 0.0 ? 0.0 : 1.0 / divisor;
}

double StepRunner::activity_penalties(const Batch& batch) const {
  double total = 0.0;
  for (const Activity& activity : plan_.activities) {
    const float* sums = data(activity.sums);
    for (int64_t b = 0; b < batch.rows * activity.groups; ++b) total += static_cast<double>(sums[b]);
  }
  return total;
}

void StepRunner::activity_penalty(const Step& step, const Batch& batch) const {
  const LayerSpec& layer = frame_.model->layers[static_cast<size_t>(step.index)];
  const Buffer& x = shape(step.in);
  kernels_.row_penalties({data(step.in), x.ld, x.columns, rows(step, batch, x), layer.l1, layer.l2, data(step.out)});
}

/// Keras divides by the number of samples in the batch.
void StepRunner::activity_gradient(const Step& step, const Batch& batch) const {
  const LayerSpec& layer = frame_.model->layers[static_cast<size_t>(step.index)];
  const Elementwise op = elementwise(step, batch);
  const auto samples = static_cast<double>(batch.rows);
  kernels_.penalty_gradient({data(step.saved), op.y, op.ld, op.rows, op.columns}, layer.l1 / samples,
                            layer.l2 / samples);
}

void StepRunner::unit_rows(const Step& step) const {
  const Variable& v = variable(step.kernel);
  const Buffer& units = shape(step.out);
  kernels_.unit_rows({weights(step.kernel).values, v.rows, v.columns, v.asked.orthogonal_columns, data(step.out),
                      units.ld, data(step.saved), worker_.slice(units.rows)});
}

void StepRunner::orthogonal(const Step& step) const {
  const Penalty& penalty = plan_.penalties[static_cast<size_t>(step.index)];
  const Buffer& units = shape(step.in);
  kernels_.orthogonal({data(step.in), units.rows, units.columns, units.ld, data(step.saved), data(step.y_pred),
                       data(step.out), penalty.factor, worker_.slice(units.rows)});
}

void StepRunner::slope_gradient(const Step& step, const Batch& batch) const {
  const Buffer& slopes = shape(step.in);
  const Penalty& penalty = plan_.penalties[static_cast<size_t>(step.index)];
  const bool across = penalty.kind == Penalty::Kind::kOrthogonal && variable(step.kernel).asked.orthogonal_columns;
  const float* from = data(step.in);
  const auto factor = static_cast<float>(penalty_factor(batch));
  for_weights(step, [&](const Panel& panel, Range rows) {
    const int64_t end = std::min(panel.columns.end, variable(step.kernel).columns - panel.first);
    float* to = gradient(step.kernel) + panel.offset;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = panel.columns.begin; j < end; ++j) {
        const int64_t column = panel.first + j;
        to[i * panel.width + j] += factor * (across ? from[column * slopes.ld + i] : from[i * slopes.ld + column]);
      }
    }
  });
}

}  // namespace engine
