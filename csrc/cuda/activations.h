// Elementwise activations on the card. Which formula it is, all threads of a kernel know alike, so that choosing among
// them by element costs next to nothing.
#pragma once
#include <type_traits>

#include "cuda/kernel.h"
#include "formulas/activations.h"

namespace engine::cuda {

struct ActivationParameters {
  float values[kMaxActivationParameters];
};

template <class Op>
ActivationParameters parameters_of(const Op& operation) {
  ActivationParameters all{};
  for (int i = 0; i < kMaxActivationParameters; ++i) all.values[i] = operation.parameters[static_cast<size_t>(i)];
  return all;
}

template <class F>
__device__ inline void with_activation(Activation activation, const ActivationParameters& parameters, F&& f) {
  with_formula(activation, formulas::ElementwiseActivations<float>{}, [&](auto chosen) {
    using Formula = typename decltype(chosen)::Type;
    if constexpr (std::is_constructible_v<Formula, const float*>) {
      f(Formula(parameters.values));
    } else {
      f(Formula{});
    }
  });
}

/// Those that products apply to their results.
using FusedActivations = Types<formulas::Linear<float>, formulas::Relu<float>>;

__device__ inline float fused_forward(Activation activation, float z) {
  float y = z;
  with_formula(activation, FusedActivations{}, [&](auto chosen) { y = decltype(chosen)::Type::forward(z); });
  return y;
}
__device__ inline float fused_backward(Activation activation, float dy, float saved) {
  float dz = dy;
  with_formula(activation, FusedActivations{}, [&](auto chosen) { dz = decltype(chosen)::Type::backward(dy, saved); });
  return dz;
}

/// y = f(z)
__device__ inline float forward(Activation activation, float z, const ActivationParameters& parameters) {
  float y = z;
  with_activation(activation, parameters, [&](const auto& formula) { y = formula.forward(z); });
  return y;
}

/// dz = f'(z) dy, from the output or the input of f, whichever its formula reads
__device__ inline float backward(Activation activation, float dy, float saved, const ActivationParameters& parameters) {
  float dz = dy;
  with_activation(activation, parameters, [&](const auto& formula) { dz = formula.backward(dy, saved); });
  return dz;
}

}  // namespace engine::cuda
