// Activations of whole rows: y = forward(z), and dz = backward(dy, y). Padding becomes zero.
#pragma once
#include "kernels/math.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

ENGINE_INLINE float log1(float x) { return log(broadcast(x))[0]; }

ENGINE_INLINE vf larger_of(vf a, vf b) { return a > b ? a : b; }

/// The largest `value(j)` of the row's lanes.
template <class F>
ENGINE_INLINE float row_largest(int64_t n, F&& value) {
  const vf lowest = broadcast(-kInfinity);
  vf most = lowest;
  for_vectors(n, [&](int64_t j, int) { most = larger_of(masked(value(j), j, n, lowest), most); });
  return fold(most, larger_of);
}

/// y = exp(x - max(x)), unnormalised with zero pads; returns max and sum.
ENGINE_INLINE void exp_row(const float* x, float* y, int64_t n, float& largest, float& sum) {
  largest = row_largest(n, [&](int64_t j) { return load(x + j); });
  LaneSum lanes;
  for_vectors(n, [&](int64_t j, int part) {
    const vf e = masked(exp(load(x + j) - largest), j, n, vf{});
    store(y + j, e);
    lanes.part[part] = lanes.part[part] + e;
  });
  sum = lanes.total();
}

struct Softmax {
  static constexpr Activation kKind = Activation::kSoftmax;
  static void forward(const float* z, float* y, int64_t n) {
    float largest, sum;
    exp_row(z, y, n, largest, sum);
    for_vectors(n, [&](int64_t j, int) { store(y + j, load(y + j) / sum); });
  }
  static void backward(const float* dy, const float* y, float* dz, int64_t n) {  // y (dy - sum(dy y))
    const float inner =
        sum_of_row(n, [&](int64_t j, vf sum) { return masked(fma(load(dy + j), load(y + j), sum), j, n, sum); });
    for_vectors(n, [&](int64_t j, int) { store(dz + j, load(y + j) * (load(dy + j) - inner)); });
  }
};

struct LogSoftmax {
  static constexpr Activation kKind = Activation::kLogSoftmax;
  static void forward(const float* z, float* y, int64_t n) {
    const float largest = row_largest(n, [&](int64_t j) { return load(z + j); });
    const float log_sum = log1(row_sum(n, [&](int64_t j) { return exp(load(z + j) - largest); }));
    for_vectors(n, [&](int64_t j, int) { store(y + j, masked(load(z + j) - largest - log_sum, j, n, vf{})); });
  }
  static void backward(const float* dy, const float* y, float* dz, int64_t n) {  // dy - exp(y) sum(dy)
    const float sum = row_sum(n, [&](int64_t j) { return load(dy + j); });
    for_vectors(n, [&](int64_t j, int) {
      store(dz + j, masked(fma(-exp(load(y + j)), broadcast(sum), load(dy + j)), j, n, vf{}));
    });
  }
};

/// The nearest point of the simplex: max(z - tau, 0) with a sum of 1 (Martins & Astudillo 2016). tau is the mean excess
/// over 1 of the elements above it: found by leaving out those that are not, until none is (Michelot 1986).
struct Sparsemax {
  static constexpr Activation kKind = Activation::kSparsemax;
  static void forward(const float* z, float* y, int64_t n) {
    const float largest = row_largest(n, [&](int64_t j) { return load(z + j); });
    const auto shifted = [&](int64_t j) { return load(z + j) - largest; };
    float tau = -kInfinity, count = 0.0f;
    for (int64_t round = 0; round <= n; ++round) {
      const auto above = [&](int64_t j, vf value) { return shifted(j) > tau ? value : vf{}; };
      const float left = row_sum(n, [&](int64_t j) { return above(j, broadcast(1.0f)); });
      if (left == count) break;
      count = left;
      tau = (row_sum(n, [&](int64_t j) { return above(j, shifted(j)); }) - 1.0f) / count;
    }
    for_vectors(n, [&](int64_t j, int) {
      const vf rest = shifted(j) - tau;
      store(y + j, masked(rest < 0.0f ? vf{} : rest, j, n, vf{}));
    });
  }
  static void backward(const float* dy, const float* y, float* dz, int64_t n) {  // dy minus its mean over y > 0
    const auto kept = [&](int64_t j, vf value) { return load(y + j) > 0.0f ? value : vf{}; };
    const float count = row_sum(n, [&](int64_t j) { return kept(j, broadcast(1.0f)); });
    const float mean = row_sum(n, [&](int64_t j) { return kept(j, load(dy + j)); }) / count;
    for_vectors(n, [&](int64_t j, int) { store(dz + j, masked(kept(j, load(dy + j) - mean), j, n, vf{})); });
  }
};

template <class Act>
void row_activation_forward(const RowActivation& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) Act::forward(op.x + b * op.ld, op.y + b * op.ld, op.n);
}

template <class Act>
void row_activation_backward(const RowActivation& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    Act::backward(op.x + b * op.ld, op.saved + b * op.ld, op.y + b * op.ld, op.n);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
