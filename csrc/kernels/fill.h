// Declares the functions by which the objects of one instruction set enter their kernels into the table.
#pragma once
#include "kernels/table.h"

namespace engine::ENGINE_ISA {

void fill_dense(KernelTable& table);
void fill_dense_weight_gradient(KernelTable& table);
void fill_gemm(KernelTable& table);
void fill_weight_steps(KernelTable& table);
void fill_elementwise(KernelTable& table);
void fill_activations(KernelTable& table);
void fill_losses(KernelTable& table);
void fill_metrics(KernelTable& table);
void fill_layers(KernelTable& table);
void fill_arrays(KernelTable& table);

namespace {

/// Returns the index in the table of a formula. An enum becomes a type in the objects that fill the table, and nowhere
/// else.
template <class T>
constexpr int index() {
  return static_cast<int>(T::kKind);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
