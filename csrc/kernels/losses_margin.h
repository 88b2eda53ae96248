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
  template <class T>
  static ENGINE_INLINE float row(const LossRow& r, const T& target) {
    const auto larger = [](vf a, vf b) { return a > b ? a : b; };
    const auto other = [&](int64_t j) {
      return masked((1.0f - target.at(j)) * load(r.x + j), j, r.n, broadcast(-kInfinity));
    };
    LaneSum own;
    vf most = broadcast(-kInfinity);
    for_vectors(r.n, [&](int64_t j, int part) {
      own.part[part] = own.part[part] + masked(target.at(j) * load(r.x + j), j, r.n, vf{});
      most = larger(other(j), most);
    });
    const float rival = fold(most, larger);
    const float margin = rival - own.total() + 1.0f;
    if (r.dx) {
      LaneSum rivals;  // equally large ones share the gradient
      for_vectors(r.n, [&](int64_t j, int part) {
        rivals.part[part] = rivals.part[part] + (other(j) == rival ? broadcast(1.0f) : vf{});
      });
      const float active = above(broadcast(margin), 0.0f)[0] * r.scale, share = active / rivals.total();
      for_vectors(r.n, [&](int64_t j, int) {
        const vf t = target.at(j);
        const vf pull = other(j) == rival ? (1.0f - t) * share : vf{};
        store(r.dx + j, masked(pull - t * active, j, r.n, vf{}));
      });
    }
    return margin < 0.0f ? 0.0f : margin;
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
