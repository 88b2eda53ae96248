// Activations of whole rows: each has `forward`, y = f(z), and `backward`, dz from dy and the output y.
//
// A formula sees the row through its argument r, as losses do (losses.h lists what r has): forward reads z by `at` and
// writes y by `keep`; backward reads y by `at` and dy by `gradient`, and writes dz by `keep`. `total(f)` is the sum of
// f(j) over the columns.
#pragma once
#include "formulas/elementary.h"
#include "formulas/kinds.h"

namespace engine::formulas {
namespace {

template <class Each>
struct Exponentials {
  Each largest, sum;
};

/// Keeps exp(x - max(x)), which cannot overflow.
template <class R>
ENGINE_INLINE Exponentials<typename R::Each> exponentials(R& r) {
  using V = typename R::V;
  const auto largest = r.largest([&](int64_t j) { return r.at(j); });
  typename R::Each total[1];
  r.sum(total, [&](int64_t j, V* sums) {
    const V e = r.without_pads(j, exp(r.at(j) - largest));
    r.keep(j, e);
    sums[0] = sums[0] + e;
  });
  return {largest, total[0]};
}

/// y = exp(z) / sum(exp(z)); dz = y (dy - sum(dy y)).
struct Softmax {
  static constexpr Activation kKind = Activation::kSoftmax;
  template <class R>
  static ENGINE_INLINE void forward(R& r) {
    const auto e = exponentials(r);
    r.for_columns([&](int64_t j) { r.keep(j, r.kept(j) / e.sum); });
  }
  template <class R>
  static ENGINE_INLINE void backward(R& r) {
    using V = typename R::V;
    typename R::Each inner[1];
    r.sum(inner, [&](int64_t j, V* sums) { sums[0] = fma(r.gradient(j), r.at(j), sums[0]); });
    r.for_columns([&](int64_t j) { r.keep(j, r.at(j) * (r.gradient(j) - inner[0])); });
  }
};

/// y = z - log(sum(exp(z))); dz = dy - exp(y) sum(dy).
struct LogSoftmax {
  static constexpr Activation kKind = Activation::kLogSoftmax;
  template <class R>
  static ENGINE_INLINE void forward(R& r) {
    using V = typename R::V;
    const auto largest = r.largest([&](int64_t j) { return r.at(j); });
    const auto sum = r.total([&](int64_t j) { return exp(r.at(j) - largest); });
    const auto log_sum = R::apply([](V v) { return log(v); }, sum);
    r.for_columns([&](int64_t j) { r.keep(j, r.without_pads(j, r.at(j) - largest - log_sum)); });
  }
  template <class R>
  static ENGINE_INLINE void backward(R& r) {
    using V = typename R::V;
    const auto sum = r.total([&](int64_t j) { return r.gradient(j); });
    r.for_columns(
        [&](int64_t j) { r.keep(j, r.without_pads(j, fma(-exp(r.at(j)), broadcast<V>(sum), r.gradient(j)))); });
  }
};

/// The nearest point of the simplex: y = max(z - tau, 0) with a sum of 1 (Martins & Astudillo 2016). tau is the mean
/// of the elements above it, less 1 over their number: found by leaving out those that are not above it, until none is
/// (Michelot 1986). dz = dy less its mean over y > 0, there.
struct Sparsemax {
  static constexpr Activation kKind = Activation::kSparsemax;
  template <class R>
  static ENGINE_INLINE void forward(R& r) {
    using V = typename R::V;
    const auto largest = r.largest([&](int64_t j) { return r.at(j); });
    const auto shifted = [&](int64_t j) { return r.at(j) - largest; };
    float tau = -kInfinity, count = 0.0f;
    for (int64_t round = 0; round <= r.n; ++round) {
      const auto above = [&](int64_t j, V value) { return shifted(j) > tau ? value : V{}; };
      const float left = r.total([&](int64_t j) { return above(j, broadcast<V>(1.0f)); });
      if (left == count) break;
      count = left;
      tau = (r.total([&](int64_t j) { return above(j, shifted(j)); }) - 1.0f) / count;
    }
    r.for_columns([&](int64_t j) {
      const V rest = shifted(j) - tau;
      r.keep(j, r.without_pads(j, rest < 0.0f ? V{} : rest));
    });
  }
  template <class R>
  static ENGINE_INLINE void backward(R& r) {
    using V = typename R::V;
    const auto where_positive = [&](int64_t j, V value) { return r.at(j) > 0.0f ? value : V{}; };
    const float count = r.total([&](int64_t j) { return where_positive(j, broadcast<V>(1.0f)); });
    const float mean = r.total([&](int64_t j) { return where_positive(j, r.gradient(j)); }) / count;
    r.for_columns([&](int64_t j) { r.keep(j, r.without_pads(j, where_positive(j, r.gradient(j) - mean))); });
  }
};

/// All of them, in the order of the enum.
using RowActivations = Types<Softmax, LogSoftmax, Sparsemax>;

}  // namespace
}  // namespace engine::formulas
