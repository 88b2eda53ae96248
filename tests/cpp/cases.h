// The cases of the kernel test. Each function adds the results of a group of kernels to the digest.
#pragma once
#include "kernels/table.h"
#include "numbers.h"

namespace engine::test {

void add_math(const KernelTable& kernels, Digest& digest);
void add_dense(const KernelTable& kernels, Digest& digest);
void add_products(const KernelTable& kernels, Digest& digest);
void add_activations(const KernelTable& kernels, Digest& digest);
void add_losses(const KernelTable& kernels, Digest& digest);
void add_metrics(const KernelTable& kernels, Digest& digest);
void add_updates(const KernelTable& kernels, Digest& digest);
void add_layers(const KernelTable& kernels, Digest& digest);
void add_arrays(const KernelTable& kernels, Digest& digest);
void add_random(const KernelTable& kernels, Digest& digest);
/// Adds the results of whole trainings, which use the kernels of the chosen instruction set.
void add_training(const KernelTable& kernels, Digest& digest);

/// Compares every formula, computed with plain floats, with the kernels. Returns how many groups differ.
int compare_formulas_in_float(const KernelTable& kernels);

}  // namespace engine::test
