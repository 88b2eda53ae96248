// Between the objects of one instruction set: each enters its own kernels into the table.
#pragma once
#include "kernels/table.h"

namespace engine::ENGINE_ISA {

void fill_products(KernelTable& table);
void fill_weights(KernelTable& table);
void fill_learning(KernelTable& table);
void fill_general_products(KernelTable& table);
void fill_losses(KernelTable& table);
void fill_activations(KernelTable& table);
void fill_elements(KernelTable& table);
void fill_layers(KernelTable& table);
void fill_metrics(KernelTable& table);

namespace {

/// The row of the table that a formula has. In the objects that fill the table, and nowhere else, an enum becomes a
/// type.
template <class T>
constexpr int index() {
  return static_cast<int>(T::kKind);
}

template <class Enum>
constexpr int index(Enum e) {
  return static_cast<int>(e);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
