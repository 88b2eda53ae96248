// The numbers of the optimizer's steps in the persistent kernel: floats whose quotients are within 2 ulp, by one
// reciprocal and one product. Exact ones take three times as many instructions, and a batch has thousands of them.
#pragma once
#include "cuda/kernel.h"
#include "formulas/number.h"

namespace engine::cuda::chains {

struct QuickFloat {
  float value;
};

ENGINE_INLINE QuickFloat operator-(QuickFloat a) { return {-a.value}; }
ENGINE_INLINE QuickFloat operator+(QuickFloat a, QuickFloat b) { return {a.value + b.value}; }
ENGINE_INLINE QuickFloat operator-(QuickFloat a, QuickFloat b) { return {a.value - b.value}; }
ENGINE_INLINE QuickFloat operator*(QuickFloat a, QuickFloat b) { return {a.value * b.value}; }
/// 0 where |b| is above 2^126. No step divides by such numbers: they are roots of floats, and epsilon.
__device__ inline QuickFloat operator/(QuickFloat a, QuickFloat b) {
#if defined(__CUDACC__)
  return {__fdividef(a.value, b.value)};
#else
  return {a.value / b.value};
#endif
}
ENGINE_INLINE bool operator<(QuickFloat a, float b) { return a.value < b; }
/// One instruction reads |a| with what it is compared with; nvcc does not see that in a mask of the bits.
ENGINE_INLINE QuickFloat abs(QuickFloat a) { return {__builtin_fabsf(a.value)}; }

}  // namespace engine::cuda::chains

namespace engine::formulas {
namespace {

template <>
struct Number<cuda::chains::QuickFloat> {
  using Q = cuda::chains::QuickFloat;
  static ENGINE_INLINE Q broadcast(float s) { return {s}; }
  static ENGINE_INLINE Q fma(Q a, Q b, Q c) { return {Number<float>::fma(a.value, b.value, c.value)}; }
  static ENGINE_INLINE Q sqrt(Q x) { return {Number<float>::sqrt(x.value)}; }
};

}  // namespace
}  // namespace engine::formulas
