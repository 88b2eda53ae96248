// Choices that depend on the machine's speed and not on mathematics, where they concern more than one step: which
// kernel computes a product, how many threads a batch is worth, who copies which rows. The kernels of one operation
// give the same bits, so that no choice changes a result. cpu/thresholds.h has the numbers.
#pragma once
#include <cstdint>

#include "cpu/schedule.h"

namespace engine::cpu {

// ---- Kernels of a dense layer's products ------------------------------------------------------------------------
// Sizes are those of the layer: `rows` of the largest batch, kernel (inputs, units).

enum class DenseKernel {
  kPanels,          // reads x where it lies, and the kernel panel by panel; skips zeros where those of x are known
  kPackedBlocks,    // copies blocks of both operands into the order in which the product reads them
  kCompressedRows,  // visits the non-zero numbers of compressed rows
};
DenseKernel choose_dense(int64_t rows, int64_t inputs, int64_t units, int threads, bool compressed);

/// Whether a narrow layer (rows of one product for each sample) is faster with partial products, in which each thread
/// multiplies its own inputs and then the sums are added, if threads have computed different columns of its input.
bool pays_to_sum_partials(int64_t inputs, int64_t units, int threads);
/// Whether, after partial products, every thread should add the sums and compute the loss of all rows for itself.
bool pays_to_repeat_loss(int64_t rows, int threads);

enum class InputGradientKernel {
  kTransposedKernel,    // transposes a block of the kernel at a time: few rows, or a narrow kernel
  kTransposedGradient,  // reads a transposed copy of dz, which a step before makes
  kPackedBlocks,
};
InputGradientKernel choose_input_gradient(int64_t rows, int64_t inputs, int64_t units, int threads);

// ---- Threads ----------------------------------------------------------------------------------------------------

/// Threads, at most `most`, that a batch of `rows` samples keeps busy. The thread policy may find that fewer are
/// faster.
int threads_for_batch(const graph::Graph& graph, int64_t rows, int most);

/// Threads that a product outside of any batch keeps busy.
int threads_for_product(double multiply_adds);

/// Threads, at most `most`, that are worth starting to read all values of a data set once.
int threads_for_reading(const DatasetView& data, int most);

/// Whether `extent` columns or samples give every thread a cache line at least.
bool feeds_all(int64_t extent, int threads);

/// Whether threads share a dense layer's units (n) in the forward pass; else they share the samples. Samples are
/// independent: with enough of them, a prediction needs no barrier between layers.
Split split_dense(const graph::Graph& graph, int64_t max_rows, int64_t units, int threads);

/// How steps that touch each weight of a variable once are divided: like the gradient of a dense layer's kernel.
Split split_weights(const Variable& variable, int threads);

/// How a prediction of so many rows is divided, if `threads` are available.
PredictionTeams divide_prediction(const graph::Graph& graph, int64_t rows, int threads);

// ---- Rows and copies --------------------------------------------------------------------------------------------

/// Whether each thread should gather all rows of a batch for itself, to compute its share of `units` from them.
bool pays_to_copy_rows(int64_t rows, int64_t inputs, int64_t units, int threads);

/// Whether every thread should have a copy of a value of so many floats, only to keep the threads' columns apart.
bool pays_to_separate(int64_t floats, int threads);

/// Whether a product with so many units is work enough to look for zeros of its input before.
bool pays_to_find_zeros(int64_t units);

}  // namespace engine::cpu
