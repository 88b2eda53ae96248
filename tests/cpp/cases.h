// The cases of the kernel test. Each function adds the results of kernels to the digests that have their names.
#pragma once
#include "kernels/table.h"
#include "numbers.h"

namespace engine::test {

void add_math(const KernelTable& kernels, Digests& digests);
void add_dense(const KernelTable& kernels, Digests& digests);
void add_products(const KernelTable& kernels, Digests& digests);
void add_activations(const KernelTable& kernels, Digests& digests);
void add_losses(const KernelTable& kernels, Digests& digests);
void add_metrics(const KernelTable& kernels, Digests& digests);
void add_updates(const KernelTable& kernels, Digests& digests);
void add_layers(const KernelTable& kernels, Digests& digests);
void add_arrays(const KernelTable& kernels, Digests& digests);
void add_random(const KernelTable& kernels, Digests& digests);
/// Adds the results of whole trainings, which use the kernels of the chosen instruction set.
void add_training(const KernelTable& kernels, Digests& digests);

/// Compares every formula, computed with plain floats, with the kernels. Returns how many groups differ.
int compare_formulas_in_float(const KernelTable& kernels);

}  // namespace engine::test
