// The optimizers whose step can be the epilogue of the product that gives the gradient.
#pragma once
#include "formulas/optimizers.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

using StoreGradient = formulas::StoreGradient<vf>;
using Sgd = formulas::Sgd<vf>;
using Momentum = formulas::Momentum<vf>;
using Nesterov = formulas::Nesterov<vf>;
using Adam = formulas::Adam<vf>;

/// A constant that is computed in double and rounded once.
inline vf constant(double x) { return formulas::constant<vf>(x); }

}  // namespace
}  // namespace engine::ENGINE_ISA
