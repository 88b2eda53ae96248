// Losses and metrics of single rows: their targets, and the formulas for the threads of a row.
#pragma once
#include "cuda/row_weights.h"
#include "cuda/warp_rows.h"
#include "formulas/losses.h"

namespace engine::cuda {

/// The target of one row: column j of it, where a class index stands for its one-hot row.
struct TargetRow {
  const float* dense;
  int32_t label;
  __device__ float at(int64_t j) const { return dense ? dense[j] : label == j ? 1.0f : 0.0f; }
};

__device__ inline TargetRow target_row(const Targets& targets, int64_t row, int64_t columns, int32_t ignored) {
  if (!targets.sparse) return {targets.view.dense + row * columns, -1};
  const int32_t label = targets.view.labels[row];
  return {nullptr, label == ignored ? -1 : label};
}

// ---- Losses ---------------------------------------------------------------------------------------------------------

/// One row of a loss, as formulas/losses.h asks for it.
template <int Threads>
struct LossRow : RowOf<Threads> {
  const float* x;
  float *y, *dx;
  float smoothing, scale;
  const float* parameters;
  bool binary;

  __device__ float at(int64_t j) const { return x[j]; }
  __device__ void keep(int64_t j, float p) const { y[j] = p; }
  __device__ float kept(int64_t j) const { return y[j]; }
  __device__ bool has_gradient() const { return dx != nullptr; }
  __device__ void set_gradient(int64_t j, float slope) const { dx[j] = slope; }
  __device__ float gradient(int64_t j) const { return dx[j]; }
};

/// The loss of a row, and where it is wanted its gradient.
template <int Threads>
__device__ inline float loss_of_row(Loss loss, LossRow<Threads>& row, const TargetRow& target) {
  float value = 0.0f;
  with_formula(loss, formulas::Losses{}, [&](auto chosen) {
    using Formula = typename decltype(chosen)::Type;
    value = Formula::row(row, target);
  });
  return value;
}

struct LossParameters {
  float values[kLossParameters];
  float smoothing;
  int32_t ignored;
};

inline LossParameters parameters_of(const LossSpec& spec) {
  LossParameters all{};
  for (int i = 0; i < kLossParameters; ++i) all.values[i] = spec.parameters[i];
  all.smoothing = spec.label_smoothing;
  all.ignored = spec.ignored;
  return all;
}

// ---- Metrics --------------------------------------------------------------------------------------------------------

/// The column of a row's first largest number, by all threads of the row.
template <int Threads, class F>
__device__ inline int64_t first_largest(int64_t n, F&& value) {
  float most = -formulas::kInfinity;
  int64_t at = n;  // none
  for (int64_t j = threadIdx.x % Threads; j < n; j += Threads) {
    const float x = value(j);
    if (at == n || x > most) {
      most = x;
      at = j;
    }
  }
  for (int distance = Threads / 2; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, most, distance);
    const int64_t other_at = __shfl_xor_sync(0xffffffffu, at, distance);
    const bool takes = other_at < n && (at == n || other > most || (other == most && other_at < at));
    most = takes ? other : most;
    at = takes ? other_at : at;
  }
  return at;
}

/// metric(y, target) of a row; `threshold` is k for the metric that has one.
template <int Threads>
__device__ inline float metric_of_row(Metric metric, float threshold, int64_t columns, const float* y,
                                      const TargetRow& target) {
  const RowOf<Threads> row{columns};
  const auto share = [&](auto&& hit) {
    return row.total([&](int64_t j) { return hit(j) ? 1.0f : 0.0f; }) / static_cast<float>(columns);
  };
  const auto truth = [&]() -> int64_t {
    return target.dense ? first_largest<Threads>(columns, [&](int64_t j) { return target.dense[j]; }) : target.label;
  };
  switch (metric) {
    case Metric::kCategoricalAccuracy:
      return first_largest<Threads>(columns, [&](int64_t j) { return y[j]; }) == truth() ? 1.0f : 0.0f;
    case Metric::kBinaryAccuracy:
      return share([&](int64_t j) { return (y[j] > threshold ? 1.0f : 0.0f) == target.at(j); });
    case Metric::kTopKCategoricalAccuracy: {
      const int64_t label = truth();
      const bool is_class = label >= 0 && label < columns;  // else the loss ignores it
      const float most = is_class ? y[label] : 0.0f;
      const float above = row.total([&](int64_t j) { return y[j] > most ? 1.0f : 0.0f; });
      return is_class && above < threshold ? 1.0f : 0.0f;
    }
    case Metric::kAccuracy:
      break;
  }
  return share([&](int64_t j) { return y[j] == target.at(j); });
}

}  // namespace engine::cuda
