// What the kernels for chains are told of a network. The blocks of a team divide the layers as follows.
//
// Layers come in pairs. The first of a pair is split by columns: a block owns some of its units, and computes them from
// all inputs. The second is split by inputs: a block owns the rows of its kernel for the units it owns of the first, so
// that what it needs lies in its own memory. Its products are partial sums of all units. A last layer that is left over
// is computed by every block alike, and of a single layer the inputs are split.
//
// Blocks exchange the partial sums once for each pair, and backwards once for each pair but the first. Blocks of a
// cluster divide the samples for that: each reads the partial sums of its samples from all others and adds them, and
// then all read the others' sums. Behind the last layer, a block first computes the loss of its samples and the
// gradient, and the others then read the gradient instead of the sums. Blocks of a grid, whose barriers take longer
// than reading all partial sums, add those of all samples.
//
// Units are dealt in slices whose width depends on the layer alone, and sums are added slice by slice. So the bits
// depend neither on the number of blocks nor on how they exchange numbers. A block that trains alone by the
// data-parallel kernel does not split layers, and adds in another order.
#pragma once
#include <cstdint>

#include "cuda/activations.h"
#include "cuda/loss_rows.h"
#include "cuda/schedule.h"

namespace engine::cuda::chains {

/// Threads of a block: so many that each may have 128 registers.
inline constexpr int kBlockThreads = 512;
inline constexpr int kBlockWarps = kBlockThreads / kWarp;
/// Columns of a kernel for which a warp computes sums at the same time.
inline constexpr int kColumns = 8;
/// Consecutive numbers that a thread reads together.
inline constexpr int kQuad = 4;
/// Floats from one quad of a kernel to the next: 8 columns of it, and 4 more, so that of the numbers that a warp reads
/// together, no more than two lie in the same bank.
inline constexpr int kQuadStride = kColumns * kQuad + kQuad;
/// The gradient by weights sums over so many rows at a time, or half as many. Memory has a multiple of these.
inline constexpr int kRowsTogether = 16;
/// As many as the largest cluster has blocks, so that each can own a slice.
inline constexpr int kMaxSlices = 16;
inline constexpr int kMaxLayers = 6;
/// Optimizers that step weights at once keep up to two numbers for each (Adam).
inline constexpr int kSlotsOfWeight = 2;
inline constexpr int kMaxStages = 3;
inline constexpr int kMaxMetrics = 4;
/// Sums over a pass: the loss, two for each metric, and the penalties; and the weights that the losses of a batch are
/// divided by.
inline constexpr int kMaxTotals = 3 + 2 * kMaxMetrics;

/// So many threads have neighbouring columns of a row: the rows of a batch of 32 are computed at once.
inline constexpr int kThreadsOfRow = kWarp / 2;
inline constexpr int kRowsAtOnce = kBlockThreads / kThreadsOfRow;

ENGINE_INLINE int smaller(int a, int b) { return a < b ? a : b; }
ENGINE_INLINE int larger(int a, int b) { return a > b ? a : b; }
/// number / divisor, without a division where one of them is so small that it needs none, as is often the case.
ENGINE_INLINE int divide(int number, int divisor) {
  return divisor == 1 ? number : number < divisor ? 0 : number / divisor;
}
ENGINE_INLINE int quads_of(int numbers) { return (numbers + kQuad - 1) / kQuad; }

/// What happens to the results of a product, one element at a time: an activation or dropout.
struct Stage {
  bool is_dropout;
  Activation activation;
  ActivationParameters parameters;
  uint64_t seed;       // of dropout
  uint32_t threshold;  // below which random words drop a number
  float scale;         // of the numbers that are kept
  int saved_at;        // what the gradient needs: (rows, units) with the leading dimension of the layer's output
};

enum class Split { kColumns, kInputs, kNone };

/// A dense layer. Padded sizes are those of the largest part that a block has. All `_at` are places in shared memory,
/// in floats.
struct DenseLayer {
  Split split;
  bool has_bias;
  int inputs, units;
  int first_weight;      // among the weights of all layers: those of a layer are its kernel and then its bias, if any
  int width, slices;     // of the axis that is split
  int slices_of_block;   // so many each, the last blocks have fewer
  int input_ranges;      // ranges of the inputs, each of which another warp sums, if the layer is not split by inputs
  int columns_together;  // columns of which the sums of all ranges fit in the memory for them
  int padded_inputs;     // a multiple of kQuad
  int padded_units;      // a multiple of kColumns
  int ld;                // floats of a row of outputs or gradients
  int owned_at;          // what this block owns of the layer
  int kernel_at;         // the kernel, as `place_of_quad` says, and behind it each of the optimizer's slots
  int kernel_floats;     // of the kernel, or of a slot
  int bias_at;           // (padded_units), and behind it each of the optimizer's slots
  int out_at;            // (rows, ld)
  int gradient_at;       // (rows, ld): of the loss by the sums; zeros behind the rows of the batch
  int stage_count;
  Stage stages[kMaxStages];
  CardWeights kernel, bias;             // in memory of the card
  double kernel_penalty, bias_penalty;  // factors of their sums of squares in the loss; 0: none

  /// Whether warps leave the sums of products where the output is to be.
  ENGINE_DEVICE bool sums_in_output() const { return split != Split::kInputs && input_ranges == 1; }
};

/// What the losses of a batch are divided by. The sum of the weights of all its samples is known only when all teams
/// have left theirs: until then, nothing is divided.
enum class DividedBy { kOne, kSamples, kWeights, kWeightsOfTeams };

struct MetricOfKernel {
  bool is_loss, by_batch;
  Metric metric;
  Loss loss;
  float threshold;
  LossParameters parameters;
  RowWeights weights;  // whose pointers say only whether there are weights
  double* state;       // sum, weight
};

/// The place of four consecutive inputs of column `n` of a kernel, q being their quad.
ENGINE_INLINE int place_of_quad(const DenseLayer& layer, int n, int q) {
  const int quads = layer.padded_inputs / kQuad;
  return layer.kernel_at + (n / kColumns * quads + q) * kQuadStride + n % kColumns * kQuad;
}

/// A batch in shared memory: what its samples are, their targets, and their rows as they lie in the data set.
struct BatchPlaces {
  int batch_at;
  int labels_at, dense_at, weights_at;  // (rows), (rows, units), (rows)
  int quads_at;                         // quads of the inputs, first those in which some row has a number that is not 0
  int x_at;                             // (rows, ld_x): bytes as they lie, or floats that are scaled
};

struct Network {
  // The data set.
  const void* rows;
  RowType type;
  int64_t stride, first_column;
  bool keeps_bytes;             // whether rows are uint8 in shared memory, too
  bool floats_on_tensor_cores;  // whether products of floats are computed there, or by fma
  bool skips_zeros;             // whether products leave out the quads of inputs that are zero in all rows of a batch
  bool whole_quads;             // whether four numbers may be read at once
  int bytes_together;  // how many bytes of a row may be copied together: 16, 4, or 0 for numbers that come one by one
  float scale, offset;
  Targets targets;

  int max_rows;        // of a batch, or of a micro-batch
  int rows_of_memory;  // a multiple of kRowsTogether
  int ld_x;            // numbers of a row in shared memory
  int layer_count;
  int weights;  // of all layers
  DenseLayer layers[kMaxLayers];
  Optimizer rule;

  Loss loss;
  LossParameters loss_parameters;
  bool keeps_probabilities;
  float weight;  // of the output
  DividedBy divided_by;
  RowWeights divisor_weights, row_weights;
  double *loss_total, *output_loss, *samples;
  int metric_count;
  MetricOfKernel metrics[kMaxMetrics];
  bool has_penalties;

  // Shared memory.
  int floats;            // all of it
  int batch_buffers;     // 2: the next batch is brought while this one is computed
  int floats_of_batch;   // from one buffer to the next
  BatchPlaces places;    // in the first buffer
  int live_at;           // (buffers): how many quads have numbers that are not 0
  int live_of_warp_at;   // (warps): of those that a warp looks at
  int range_sums_at;     // sums over ranges of the inputs; after the forward pass, probabilities that a metric computes
  int probabilities_at;  // (rows, units of the last layer)
  int announced_at;      // (2) what is known of the next two batches: Batch
  int row_indices_at;    // (2, rows) where their samples lie in the data set
  int sums_at;           // (kRowsAtOnce, kinds): of losses and metrics, as doubles
  int penalties_at;      // (warps): their sums, as doubles
  int divisor_at;        // a double
  int rows_of_block_log;  // a block adds the partial sums of 2^this rows
  int exchange_at;        // partial sums of this block's slices: (slices, rows, columns)
  int gathered_at;        // sums of all rows: (rows, columns)
  int exchange_floats;    // of the partial sums

  // Memory of the card. The first two are those of the persistent kernel.
  float* exchange;     // of a grid: two buffers of partial sums, (slices, rows, columns) each
  unsigned* arrivals;  // of blocks at barriers
  double* totals;      // (blocks of the launch, kMaxTotals): of losses, metrics and their weights, penalties, divisors
};

/// How teams divide the samples of a batch. Each has the same number of micro-batches, but for the last one.
struct SampleDivision {
  int64_t samples_of_team, teams;
  ENGINE_INLINE SampleDivision(int64_t samples, int64_t rows_of_micro_batch, int64_t most_teams) {
    const int64_t micro_batches = (samples + rows_of_micro_batch - 1) / rows_of_micro_batch;
    samples_of_team = (micro_batches + most_teams - 1) / most_teams * rows_of_micro_batch;
    teams = (samples + samples_of_team - 1) / samples_of_team;
  }
};

/// The part of a layer that a block owns.
struct Owned {
  int first_slice, slices;
  int first_input, inputs;
  int first_unit, units;
};

ENGINE_INLINE Owned owned_by(const DenseLayer& layer, int block) {
  const int first = smaller(block * layer.slices_of_block, layer.slices);
  const int slices = smaller(layer.slices_of_block, layer.slices - first);
  const int axis = layer.split == Split::kInputs ? layer.inputs : layer.units;
  const int begin = smaller(first * layer.width, axis);
  const int end = smaller((first + slices) * layer.width, axis);
  switch (layer.split) {
    case Split::kColumns:
      return {first, slices, 0, layer.inputs, begin, end - begin};
    case Split::kInputs:
      return {first, slices, begin, end - begin, 0, layer.units};
    case Split::kNone:
      break;
  }
  return {0, 1, 0, layer.inputs, 0, layer.units};
}

}  // namespace engine::cuda::chains
