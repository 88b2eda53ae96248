// Hinges: losses that are zero once an output is far enough on its target's side.
#pragma once
#include "kernels/losses_regression.h"

namespace engine::ENGINE_ISA {
namespace {

/// 1 - t x with targets -1 and 1, which 0 and 1 stand for if the data set has no others.
template <class R, class T, class F>
ENGINE_INLINE auto hinge_row(R& r, const T& target, F&& f) {
  const vf keep = broadcast(r.binary ? 2.0f : 1.0f), shift = broadcast(r.binary ? -1.0f : 0.0f);
  return mean_row(r, target, [&](vf x, vf raw, int64_t, vf& slope) {
    const vf t = fma(raw, keep, shift);
    return f(1.0f - t * x, t, slope);
  });
}

/// max(1 - t x, 0)
struct Hinge {
  static constexpr Loss kKind = Loss::kHinge;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return hinge_row(r, target, [](vf margin, vf t, vf& slope) {
      slope = -t * above(margin, 0.0f);
      return margin < 0.0f ? vf{} : margin;
    });
  }
};

/// max(1 - t x, 0)^2
struct SquaredHinge {
  static constexpr Loss kKind = Loss::kSquaredHinge;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    return hinge_row(r, target, [](vf margin, vf t, vf& slope) {
      const vf m = margin < 0.0f ? vf{} : margin;
      slope = -t * (m + m);
      return m * m;
    });
  }
};

/// max(max((1 - t) x) - sum(t x) + 1, 0)
struct CategoricalHinge {
  static constexpr Loss kKind = Loss::kCategoricalHinge;
  template <class R, class T>
  static ENGINE_INLINE auto row(R& r, const T& target) {
    const auto other = [&](int64_t j) { return (1.0f - target.at(j)) * r.at(j); };
    typename R::Each own[1], rivals[1];
    r.sum(own, [&](int64_t j, vf* sums) { sums[0] = sums[0] + target.at(j) * r.at(j); });
    const auto rival = r.largest(other);
    const auto margin = rival - own[0] + 1.0f;
    if (r.has_gradient()) {
      const auto leads = [&](int64_t j) { return other(j) == rival ? broadcast(1.0f) : vf{}; };
      r.sum(rivals, [&](int64_t j, vf* sums) { sums[0] = sums[0] + leads(j); });  // which share the gradient
      const auto active = R::apply([](vf m) { return above(m, 0.0f); }, margin) * r.scale;
      const auto share = active / rivals[0];
      r.for_columns([&](int64_t j) {
        const vf t = target.at(j);
        r.set_gradient(j, (1.0f - t) * share * leads(j) - t * active);
      });
    }
    return R::apply([](vf m) { return m < 0.0f ? vf{} : m; }, margin);
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
