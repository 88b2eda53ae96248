// The elementwise activations, and those of them that products fuse.
#pragma once
#include "kernels/activations.h"
#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

using Activations = Types<Linear, Relu, Sigmoid, Tanh, Silu>;
using FusedActivations = Types<Linear, Relu>;

}  // namespace
}  // namespace engine::ENGINE_ISA
