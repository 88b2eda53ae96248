// Elementwise activations: y = forward(z), and dz = backward(dy, saved), where the plan saves the output y, or
// z itself where `saves_input` in table.h says so.
#pragma once
#include "kernels/math.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

struct Linear {
  static constexpr Activation kKind = Activation::kLinear;
  static ENGINE_INLINE vf forward(vf z) { return z; }
  static ENGINE_INLINE vf backward(vf dy, vf) { return dy; }
};

struct Relu {
  static constexpr Activation kKind = Activation::kRelu;
  static ENGINE_INLINE vf forward(vf z) { return z < 0.0f ? vf{} : z; }  // a NaN stays visible
  static ENGINE_INLINE vf backward(vf dy, vf y) { return y > 0.0f ? dy : vf{}; }
};

struct Sigmoid {
  static constexpr Activation kKind = Activation::kSigmoid;
  static ENGINE_INLINE vf forward(vf z) { return sigmoid(z); }
  static ENGINE_INLINE vf backward(vf dy, vf y) { return dy * (y * (1.0f - y)); }
};

struct Tanh {
  static constexpr Activation kKind = Activation::kTanh;
  static ENGINE_INLINE vf forward(vf z) { return tanh(z); }
  static ENGINE_INLINE vf backward(vf dy, vf y) { return dy * (1.0f - y * y); }
};

struct Silu {  // z sigmoid(z), Elfwing et al. 2017
  static constexpr Activation kKind = Activation::kSilu;
  static ENGINE_INLINE vf forward(vf z) { return z * sigmoid(z); }
  static ENGINE_INLINE vf backward(vf dy, vf z) {
    const vf s = sigmoid(z);
    return dy * fma(z * s, 1.0f - s, s);
  }
};

}  // namespace
}  // namespace engine::ENGINE_ISA
