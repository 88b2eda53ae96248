// The interface between the folders above and the kernels of one instruction set: for each kernel a struct of its
// arguments, and at the end the table of functions. A function `f` of the table is in the file that the section names,
// and its arguments are explained at their struct.
//
// Every matrix is row-major with a leading dimension (`ld`) in floats, and its rows are padded to whole cache lines
// (layout.h). A `Range` of rows or columns is the part of the result that the call computes; threads call the same
// kernel with different ranges.
#pragma once
#include <cstddef>
#include <cstdint>

#include "formulas/kinds.h"
#include "formulas/map_operations.h"
#include "kernels/compressed_rows.h"
#include "kernels/layout.h"
#include "kernels/nonzeros.h"

namespace engine {

// ---- Weights and optimizer state --------------------------------------------------------------------------------

/// Weights with their optimizer state: each slot has the shape and layout of the weights.
struct Weights {
  float* values = nullptr;
  float* slots[kMaxSlots] = {};
  double l2 = 0.0;     // factor of an L2 penalty, whose gradient a fused step adds
  double decay = 0.0;  // decoupled weight decay, as a share of the learning rate
};

/// Whether a penalty or weight decay shrinks the kernel or the bias of a layer.
inline constexpr Shrinkage shrinkage(const Weights& kernel, const Weights& bias) {
  const bool none = kernel.l2 == 0.0 && kernel.decay == 0.0 && bias.l2 == 0.0 && bias.decay == 0.0;
  return none ? Shrinkage::kNone : Shrinkage::kSome;
}

/// Bytes that hold the coefficients of any fused optimizer.
inline constexpr size_t kCoefficientBytes = 4 * 64;

// ---- Products of dense layers: dense_forward.h, dense_input_gradient.h, dense_weight_gradient.h, slices.h ----------

/// Rows of a data set that a kernel prefetches into the L2 cache while it computes something else.
struct RowsToPrefetch {
  const void* const* rows = nullptr;
  int64_t count = 0;
  int64_t bytes = 0;  // of each row
};

/// y (rows, n) = activation(x (rows, k) kernel (k, n) + bias (n,)), for columns of one panel of the kernel.
struct DenseForwardArgs {
  const float* x;
  int64_t ldx;
  const float* kernel;
  int64_t ldw;
  const float* bias;  // (n,) padded, or null
  float* y;
  int64_t ldy;
  int64_t k;
  Range rows, columns;
  const NonZeros* nonzeros = nullptr;           // the nonzero elements of x; x is not read if they were found
  bool stores_transpose = false;                // also stores them by input, for the weight gradient
  const float* const* x_rows = nullptr;         // a pointer to each row of x; null: rows are in `x`
  bool in_slices = false;                       // the order of summation (sums_in_slices); no zeros are skipped then
  const CompressedBatch* compressed = nullptr;  // x in CSR; null: x is dense
  RowsToPrefetch prefetch = {};                 // rows of x that follow soon
};

/// dx (rows, k) = (addend (rows, k) + dz (rows, n) kernel (k, n)^T) * activation'(saved (rows, k)), for inputs in a
/// range of k.
struct DenseInputGradientArgs {
  const float* dz;  // (rows, n), or its transpose (n, rows)
  int64_t lddz;
  const float* kernel;  // in panels
  int64_t k;
  const float* saved;  // the activation's output
  float* dx;
  int64_t ldx;  // of addend, saved and dx
  int64_t n, rows;
  Range inputs;
  bool dz_transposed;  // whether dz is given as its transpose; else the kernel transposes blocks of the layer's kernel
  const float* addend = nullptr;  // in other memory than dx; null: zeros
};

/// Steps kernel (k, n) by its gradient x (rows, k)^T dz (rows, n) + 2 l2 kernel, after kernel -= learning_rate decay
/// kernel, and the bias by the column sums of dz; for some inputs and for columns of one panel. The stored gradient is
/// the "step" that writes the gradient to `values`.
struct DenseWeightGradientArgs {
  const float* x;
  int64_t ldx;
  const float* dz;
  int64_t lddz;
  Weights kernel;
  int64_t ldw;
  Weights bias;  // without values if there is none
  int64_t rows;
  Range inputs, columns;  // the call with input 0 steps the bias
  OptimizerStep step;
  const NonZeros* nonzeros = nullptr;    // the nonzero elements of x by input; x is not read if they were found
  bool clears_nonzeros = true;           // sets them to zero: the last call for these inputs and this batch does
  const float* const* x_rows = nullptr;  // a pointer to each row of x; null: rows are in `x`
  RowsToPrefetch prefetch = {};
  const float* gradient = nullptr;  // (inputs, columns), if the product is known already; x is not read then
  int64_t ldg = 0;
  const CompressedBatch* compressed = nullptr;  // x in CSR; null: x is dense
  const CompressedSums* sums = nullptr;         // scratch for the product of x in CSR
};

/// 2^level slices of a narrow product, from slice `first` on, which is a multiple of 2^level.
struct SliceGroup {
  int64_t first;
  int level;
};

/// y (rows, up to kLineFloats columns) = the sum of groups of slices, which follow one another from slice 0 on.
struct SumPartialsArgs {
  const float* partials;  // (slices, rows, kLineFloats): the sum of each group, at its first slice
  int64_t stride;         // floats from one slice to the next
  const SliceGroup* groups;
  int64_t count;
  float* y;
  int64_t ldy;
  Range rows;
};

// ---- The general product: gemm.h, pack.h ---------------------------------------------------------------------------

/// Copies the rows of A (m, k) into panels of mr rows, or the columns of B (k, n) into panels of nr columns. A panel is
/// (depth, mr or nr) row-major, and its first k rows are written; what is missing from the last panel becomes zero. The
/// rows or columns are called lines here.
struct PackArgs {
  const float* in;
  int64_t line_stride, k_stride;  // of any sign
  int64_t lines, k;
  float* out;  // has space for kLineFloats floats behind the panels, which may be written
  int64_t depth;
  const float* const* k_pointers =
      nullptr;        // pointers to elements (0, p) for p < k, if lines are contiguous there; not `in` then
  int64_t first = 0;  // the first line to be read behind these pointers
};

/// One block of a general product: sums += a (rows, k) b (k, columns) for one chain of k, and after the last chain
/// c (rows, columns) = activation(sums + bias). Between chains the sums are kept in `partial`, or in c.
struct GemmArgs {
  const float* a;
  int64_t a_row, a_column;  // strides, one of which is 1; unused if a is packed
  bool a_packed;
  const float* b;             // rows are contiguous, except with `b_by_columns`
  int64_t b_row, b_column;    // plain: leading dimension and 1; packed: nr and k; by columns: 1 and any stride
  bool b_by_columns;          // b is column-major and not packed; for few rows of c, with a packed, or for one row
  bool b_has_partial_vector;  // b is plain, and its number of columns may be no multiple of the vector width
  int64_t nr;                 // columns of a panel
  float* c;
  int64_t c_row, c_column;  // strides
  const float* bias;        // or null
  bool bias_by_row;         // one number for each row of c instead of each column
  int64_t rows, columns, k;
  float* partial;  // panels (partial_rows, nr)
  int64_t partial_rows;
  bool first, last;               // whether this is the first or last chain of the product
  bool from_partial, to_partial;  // whether the sums before and after this chain are in `partial`; else they are in c
};

/// a (k,) . b (k,), both contiguous
struct DotArgs {
  const float* a;
  const float* b;
  int64_t k;
};

/// Sizes that depend on the instruction set, for those who pack and call `gemm`.
struct GemmShape {
  int64_t vector;                // floats of a vector
  int64_t mr, nr;                // rows of a panel of A, columns of a panel of B
  int64_t single_row_nr;         // columns of a panel of B if c has one row
  int64_t most_rows_by_columns;  // for so many rows, transposing b's columns in registers each time beats packing
  bool masked_loads;             // whether partial vectors load as fast as whole ones
};

// ---- Steps of weights by a stored gradient: weight_steps.h, constraints.h, sums.h --------------------------------

/// A part of a panel of weights, and of another array of the same layout.
struct WeightBlock {
  float* weights;
  float* other;
  int64_t ld;
  Range rows, columns;
};

/// weights -= learning_rate decay weights, then one optimizer step by clip(scale gradient, -limit, limit). Optimizers
/// that give a direction store it in place of the gradient instead.
struct WeightStepArgs {
  Weights weights;
  float* gradient;  // with ld
  int64_t ld;
  Range rows, columns;
  OptimizerStep step;
  float scale, limit;
};

/// Scales the rows of a matrix so that the norm of each row, or of the whole matrix, keeps the limits.
struct RowNormsArgs {
  float* weights;  // (rows, n) in panels
  int64_t rows, n;
  Range range;
  bool whole_matrix;
  NormLimits limits;
};

/// sums (columns,) = column sums of squares or magnitudes of w (rows, columns)
struct ColumnSumsArgs {
  const float* w;
  int64_t ld, rows;
  float* sums;
  Range columns;
};

// ---- Elementwise operations and activations ------------------------------------------------------------------------
// Files: elementwise.h, activations.h, noise.h

/// y = f(x), or dx = f'(saved) dy with x = dy and y = dx, for rows x columns of buffers of one shape.
struct ElementwiseArgs {
  const float* x;
  float* y;
  const float* saved;
  int64_t ld;
  Range rows, columns;
  const float* parameters = nullptr;  // constants of an activation
};

/// y (rows, n) = f(x) for a function of whole rows such as softmax, or dx in the backward pass.
struct RowActivationArgs {
  const float* x;      // or dy
  const float* saved;  // backward: the output
  float* y;            // or dx; may be x
  int64_t ld, n;
  Range rows;
};

struct DropoutArgs {
  const float* x;
  float* y;
  float* mask;  // same shape as y: 0 or 1 / (1 - rate)
  int64_t ld;
  Range rows, columns;
  double rate;
  uint64_t seed;
  uint64_t step;
  int64_t first;  // the number that the counters of random numbers give to the first row
};

/// y (rows, columns) of random numbers; noise.h says of which distribution.
struct NoiseArgs {
  float* y;
  int64_t ld;
  Range rows, columns;
  uint64_t seed;
  uint64_t step;
  int64_t first;  // as in DropoutArgs
  bool shared;    // whether all rows get the same numbers
  double rate;
  float mean, scale;
};

/// out (columns, rows) = in (rows, columns)^T
struct TransposeArgs {
  const float* in;
  int64_t ld_in;
  float* out;
  int64_t ld_out;
  Range rows, columns;
};

// ---- Rows of a data set --------------------------------------------------------------------------------------------
// Files: gather.h, sparse_row_encoding.h, elementwise.h

/// The types of a data set's numbers.
enum class RowType { kUint8, kFloat32, kFloat64 };
inline constexpr int kRowTypes = 3;

/// x (rows, k) = data[order[first + row]] * scale + offset
struct GatherArgs {
  const void* data;
  int64_t stride;        // elements between rows
  const int32_t* order;  // index of each row; null: they are `first`, `first` + 1, ...
  int64_t first;
  float* x;
  int64_t ldx, k;
  float scale, offset;
  Range rows;
  int64_t next;     // the position in `order` of rows to prefetch for the next call, if it is ...
  int64_t samples;  // ... less than this
};

/// Encodes rows, indexed like those of GatherArgs, as records of their nonzero elements (nonzeros.h).
struct RecordRowsArgs {
  const void* data;
  int64_t stride;
  const int32_t* order;
  int64_t first, k;
  float scale;
  Range rows;
  void* scratch;   // (k + kLineFloats,) floats
  Codebook* book;  // for float32 and float64: where numbers get codes; null: records hold floats
  uint8_t* out;    // takes the records, one after the other; has space for full ones and kLineFloats floats more
  const uint8_t** records;  // (rows,): where each record begins
};
/// What `record_rows` returns if more than half of the first rows, or of all, is not zero: records do not pay then.
inline constexpr int64_t kTooManyNonZeros = -1;
/// What it returns if the codebook has no code left for a value.
inline constexpr int64_t kTooManyValues = -2;
/// The number of first rows that decide whether to go on.
inline constexpr int64_t kProbe = 8;

/// Searches data (rows, k), contiguous, for a row with a value that is no finite float32.
struct NonFiniteArgs {
  const void* data;
  int64_t k;
  Range rows;
};

// ---- Losses and metrics --------------------------------------------------------------------------------------------
// Files: losses.h, narrow_rows.h, metrics.h, metric_sums.h

/// The targets of a batch, whose samples are indexed like the rows of GatherArgs: `labels` (class indices), or `dense`
/// (, n) for each row of outputs.
struct Targets {
  const int32_t* labels;
  const float* dense;
  const int32_t* order;
  int64_t first;
  int64_t groups = 1;  // rows of each sample

  /// The row of the data set's targets that belongs to row `b` of the batch.
  int64_t row(int64_t b) const {
    const int64_t sample = first + (groups == 1 ? b : b / groups);
    const int64_t at = order ? order[sample] : sample;
    return groups == 1 ? at : at * groups + b % groups;
  }
};

struct LossRowsArgs {
  const float* x;  // y_pred, or the logits for losses that include softmax or sigmoid
  float* y_pred;   // the probabilities of logits; may be null
  float* dx;       // null if only the loss is wanted
  int64_t ld, n;
  Targets targets;
  const float* sample_weight;  // by row of the data set's outputs, or null
  float scale;                 // of the gradient, times the sample weight
  float label_smoothing;
  float* losses;  // (rows,), unweighted
  Range rows;
  const float* parameters = nullptr;  // (kLossParameters,), whose meaning depends on the loss
  int32_t ignored = -1;               // class index whose loss is zero
  bool binary = false;                // all targets of the data set are 0 or 1, which hinge losses read as -1 or 1
};

/// values (rows,): one value of a metric for each row, of which the caller takes the mean.
struct MetricRowsArgs {
  const float* y_pred;
  int64_t ld, n;
  Targets targets;
  float threshold;  // binary accuracy: the threshold; top-k accuracy: k
  float* values;    // (rows,)
  Range rows;
};

/// Adds the rows of a batch to the sums of a metric, which MetricSum lists (formulas/kinds.h).
struct MetricSumRowsArgs {
  const float* y_pred;
  int64_t ld, n;
  Targets targets;
  Range rows;
  const float* sample_weight;  // by row of the data set's outputs, or null
  const float* thresholds;     // (count,), ascending
  int64_t count;
  bool even;        // thresholds are 0, 1 / (count - 1), ... 1, so that they need no search
  bool below_zero;  // like `even`, except that the first is a little less than 0
  int64_t column;   // the only output to count; -1: all
  int64_t top_k;    // outputs of a sample that can be above a threshold; 0: all
  bool by_column;   // whether each output has sums of its own
  bool logits;      // whether outputs still have to go through a sigmoid
  double* state;    // the sums
};

/// Replaces an output that is not among the k largest, as Keras' minus infinity does.
inline constexpr float kBelowAll = -1e10f;

// ---- Normalization and layers of columns ---------------------------------------------------------------------------
// Files: batch_normalization.h, row_normalization.h

/// A mask of rows (samples, groups): nonzero for each row that statistics include; null where they include all.
struct RowMask {
  const float* values;
  int64_t ld, groups;

  /// What row `row` of the batch counts for: 1 or 0.
  double at(int64_t row) const { return values ? static_cast<double>(values[row / groups * ld + row % groups]) : 1.0; }
};

/// mean and variance (columns,) of x (rows, columns), over the rows that the mask includes.
struct ColumnStatisticsArgs {
  const float* x;
  int64_t ld;
  RowMask mask;
  float *mean, *variance;
  Range rows, columns;
};

/// y = factor (x - mean), or with kInverse factor x + mean. Backward: x = dy and y = dx; `saved` = y, or null where
/// mean and variance are constants; `mask` is that of the rows whose statistics they are.
struct StandardizeColumnsArgs {
  const float* x;
  const float* saved;
  float* y;
  int64_t ld;
  RowMask mask;
  const float *mean, *variance;  // (columns,)
  float epsilon;
  Spread spread;
  Range rows, columns;
};

/// Batch renormalization: r (columns,) = deviation / running deviation, d = (mean - running mean) / running deviation,
/// and the deviation of the batch.
struct CorrectionsArgs {
  const float *mean, *variance, *running_mean, *running_deviation;
  float epsilon;
  CorrectionLimits limits;
  float *r, *d, *deviation;
  Range columns;
};

/// variance (columns,) = deviation^2 - epsilon, at least 0
struct VarianceOfArgs {
  float* variance;
  const float* deviation;
  float epsilon;
  Range columns;
};

/// average = momentum average + (1 - momentum) value
struct MovingAverageArgs {
  float* average;
  const float* value;
  double momentum;
  Range columns;
};

/// y (rows, n) = factor (x - mean) with a factor and a mean for each row. Backward: x = dy, y = dx, `saved` = y.
struct StandardizeRowsArgs {
  const float* x;
  const float* saved;
  float* y;
  int64_t ld, n;
  float* factors;  // (rows, 2)
  int64_t ld_factors;
  float epsilon;
  bool centred, unit;  // whether the mean is subtracted; whether rows get norm 1 instead of variance 1
  Range rows;
};

// ---- Tokens and timesteps ------------------------------------------------------------------------------------------
// Files: embedding.h, pooling.h

/// y (rows * count, n) = the rows of table (tokens, n), in panels, that x (rows, count) selects.
struct EmbedArgs {
  const float* x;
  int64_t ldx, count;
  const float* table;
  int64_t tokens, n;
  float* y;
  int64_t ldy;
  Range rows;
};

/// The gradient of the table: for each token the sum of its rows of dy.
struct EmbedBackwardArgs {
  const float* x;
  int64_t ldx, count;
  const float* dy;  // (rows * count, n)
  int64_t lddy;
  float* table;  // of sums
  int64_t tokens, n, rows;
  Range columns;
  bool only_read;  // whether only the rows of the tokens that `x` holds are written; else the others become 0
};

/// y (rows, tokens) = how often x (rows, n) holds each token; without `counts`, 1 if it holds it at all.
struct EncodeArgs {
  const float* x;
  int64_t ldx, n;
  float* y;
  int64_t ldy, tokens;
  bool counts;
  Range rows;
};

/// factors (rows, count) = 0 for each timestep of x (rows, count, n) whose features all equal `value`, else 1. With
/// `normalizes` they are divided by their sum.
struct TimestepMaskArgs {
  const float* x;
  int64_t ldx, stride, n;
  float* factors;
  int64_t ld, count;
  float value;
  bool normalizes;
  Range rows;
};

/// y (rows, n) = sum over count of factors (rows, count) times x (rows, count, n), or y (rows, count, n) = factors x.
/// `stride_x` is 0 where all timesteps share one row of x. Without factors, each of them is `scale`.
struct WeightTimestepsArgs {
  const float* x;
  int64_t ldx, stride_x;
  const float* factors;
  int64_t ld_factors;
  float scale;
  float* y;
  int64_t ldy, stride_y;
  int64_t count, n;
  Range rows;
};

/// y (rows, n) = max over count of x (rows * count, n). Backward: dx (rows * count, n) = dy (rows, n) where x equals y,
/// divided by the number of timesteps where it does; 0 elsewhere.
struct MaxTimestepsArgs {
  const float* x;
  int64_t ldx;
  float *y, *dx;
  const float* dy;
  int64_t ldy, count, n;
  Range rows;
};

// ---- Images --------------------------------------------------------------------------------------------------------
// Files: image_augmentation.h, elastic_displacements.h

/// Pixels of the border that is copied around an image of n pixels: a square that rotates reaches out by 0.21 n.
inline constexpr int64_t warp_margin(int64_t n) { return n / 4 > 8 ? n / 4 : 8; }
inline constexpr int64_t warp_frame(int64_t height, int64_t width) {
  return (height + 2 * warp_margin(height)) * round_up(width + 2 * warp_margin(width), kLineFloats);
}

/// Rows whose displacements are smoothed in one pass.
inline constexpr int64_t kSmoothedRows = 4;

/// The coefficients of the filter that smooths displacements are integers, whose sum, kFilterSum, stands for 1.
inline constexpr int kFilterBits = 14;
inline constexpr int32_t kFilterSum = 1 << kFilterBits;

/// Floats of the two fields of displacements, in padded rows.
inline constexpr int64_t warp_fields(int64_t height, int64_t width) {
  return 2 * round_up(height, kSmoothedRows) * round_up(width, kLineFloats);
}

/// Words of noise that they are made from: one for each pixel, and a row of zeros.
inline constexpr int64_t warp_noise(int64_t height, int64_t width) {
  return round_up((height + 1) * width, kLineFloats) + kLineFloats;
}

/// Floats of scratch: an image with its border, the columns that the border repeats, and three numbers for each column;
/// for displacements also two fields, their noise, and both fields half smoothed, in 16 bits.
inline constexpr int64_t warp_scratch(int64_t height, int64_t width, int64_t channels, bool displaces) {
  const int64_t image =
      channels * warp_frame(height, width) + 2 * warp_margin(width) + 3 * round_up(width, kLineFloats);
  const int64_t between = round_up(height, kSmoothedRows) * (round_up(width, kLineFloats) + kLineFloats);
  return image + kLineFloats + (displaces ? warp_fields(height, width) + warp_noise(height, width) + between : 0);
}

/// y (rows, height * width * channels) = the images x, each changed at random.
struct WarpArgs : ImageChanges {
  const float* x;
  float* y;
  int64_t ld;
  float* scratch;         // (warp_scratch,)
  const int32_t* filter;  // [d]: the coefficient at distance d in the lower 16 bits, at d - 1 in the upper
  uint64_t step;
  int64_t first;  // the number that the counters of random numbers give to the first image
  Range rows;
};

// ---- Traced functions ----------------------------------------------------------------------------------------------
// Files: map.h, array_reduction.h, strided_copy.h, integers.h, sorting.h, noise.h

/// Which operands of an instruction are the result of the one before it.
enum class Chained : uint8_t { kNone, kA, kB, kBoth, kC };

/// An instruction of a map, for blocks of numbers: register `y` from the registers a, b and c. Chained instructions
/// take the result of the one before them from registers of the CPU; it need not be stored.
struct MapBlockInstruction {
  MapOp op;
  int y, a, b, c;
  Chained chained = Chained::kNone;
  bool stores = true;  // whether `y` is read in memory
};

/// Whether an instruction may be in a chain: arithmetic, which takes no longer than to load and store its numbers.
/// `run_chained` (kernels/map.h) has a case for each of them.
inline constexpr bool may_be_chained(MapOp op) {
  switch (op) {
    case MapOp::kNegate:
    case MapOp::kAbs:
    case MapOp::kSqrt:
    case MapOp::kAdd:
    case MapOp::kSubtract:
    case MapOp::kMultiply:
    case MapOp::kDivide:
    case MapOp::kMinimum:
    case MapOp::kMaximum:
    case MapOp::kEqual:
    case MapOp::kLess:
    case MapOp::kLessEqual:
    case MapOp::kSelect:
    case MapOp::kMaximumGradient:
      return true;
    default:
      return false;
  }
}

/// A block of numbers that lie side by side (step 1), or kLineFloats copies of one number (step 0).
struct MapRegister {
  float* data;
  int64_t step;
};

/// Runs instructions on a block of n numbers, rounded up to whole vectors.
struct MapBlock {
  const MapBlockInstruction *begin, *end;
  const MapRegister* registers;
  int64_t n;
};

/// The most numbers that are reduced in lanes; a longer run is reduced piece by piece.
inline constexpr int64_t kReducedRun = 4096;

/// y (rows,) = the sum, maximum, minimum or product of each row of x (rows, n).
struct ReduceRowsArgs {
  const float* x;
  int64_t row, rows, n;  // row: floats from one row to the next
  float* y;
};

/// y (columns,) = y combined with the rows of x (rows, columns), one after the other.
struct CombineRowsArgs {
  const float* x;
  int64_t row, rows, columns;
  float* y;
};

/// y (columns,) = the first row where each column of x (rows, columns) is largest or smallest. Whole vectors of x are
/// read and of y written.
struct ExtremeRowsArgs {
  const float* x;
  int64_t row, rows, columns;
  float* y;
  bool smallest;
};

/// to[i] = from[i step] for n floats.
struct CopyStridedArgs {
  const float* from;
  int64_t step;
  float* to;
  int64_t n;
};

/// to[i step] = from[i from_step] for n floats, and zeros between them; step > 0.
struct SpreadStridedArgs {
  const float* from;
  int64_t from_step;
  float* to;
  int64_t step, n;
};

/// Sorts each column of x (n, kLineFloats). `places` (n, kLineFloats), if it is not null, gets the rows that the
/// numbers were in, equal ones in their order; x is then overwritten with their keys.
struct SortColumnsArgs {
  float* x;
  int64_t n;
  float* places;
};

/// y (rows, columns) = the running sums of x, from row to row. Whole vectors of x are read.
struct AccumulateRowsArgs {
  const float* x;
  int64_t x_row, rows, columns;
  float* y;
  int64_t y_row;
};

/// The least and the largest of some integers.
struct IntegerRange {
  int64_t least, largest;
};

/// Random words are computed in groups of so many.
inline constexpr int64_t kRandomGroup = 64;

/// y (count,) = the random numbers `first` and following of stream (seed, step); both are multiples of kRandomGroup.
struct RandomNumbersArgs {
  float* y;
  int64_t first, count;
  uint64_t seed, step;
  float low, high;   // of uniform numbers; mean and standard deviation of normal ones
  float below_high;  // the largest float below `high`
};

/// Where an enum's entry lies in the table.
template <class Enum>
constexpr size_t index(Enum e) {
  return static_cast<size_t>(e);
}

// ---- The table ----------------------------------------------------------------------------------------------------

struct KernelTable {
  const char* isa;

  // Products of dense layers
  void (*dense_forward[kFusedActivations])(const DenseForwardArgs&);
  void (*sum_partials)(const SumPartialsArgs&);
  void (*dense_input_gradient[kFusedActivations])(const DenseInputGradientArgs&);
  void (*dense_weight_gradient)(const DenseWeightGradientArgs&);  // stores the gradient
  void (*dense_weight_step[kFusedOptimizers][kShrinkages])(const DenseWeightGradientArgs&);
  void (*coefficients[kFusedOptimizers])(const OptimizerStep&, void* out);  // (kCoefficientBytes,) on a cache line

  // The general product
  GemmShape gemm_shape;
  void (*pack_rows)(const PackArgs&);
  void (*pack_columns)(const PackArgs&);
  void (*pack_single_row_columns)(const PackArgs&);
  void (*gemm[kFusedActivations])(const GemmArgs&);
  float (*dot)(const DotArgs&);

  // Steps of weights by a stored gradient
  void (*step_weights[kOptimizers])(const WeightStepArgs&);
  void (*penalty_gradient)(const WeightBlock&, double l1, double l2);  // other += l1 sign(w) + 2 l2 w
  void (*accumulate)(const WeightBlock&);                              // other += w
  void (*take_mean)(const WeightBlock&, int64_t count);                // w = (w + other) / count, other = 0
  void (*subtract)(const WeightBlock&, float factor);                  // w -= factor other
  void (*non_negative)(const WeightBlock&);                            // w = max(w, 0)
  void (*column_norms)(const WeightBlock&, const NormLimits&);         // of all of the block's rows
  void (*row_norms)(const RowNormsArgs&);
  void (*average)(const WeightBlock&, double momentum, bool overwrite);  // other = m other + (1 - m) w; w = other
  void (*squared_sums)(const ColumnSumsArgs&);
  void (*magnitude_sums)(const ColumnSumsArgs&);

  // Elementwise operations and activations
  void (*activation_forward[kElementwiseActivations])(const ElementwiseArgs&);
  void (*activation_backward[kElementwiseActivations])(const ElementwiseArgs&);
  void (*row_activation_forward[kRowActivations])(const RowActivationArgs&);
  void (*row_activation_backward[kRowActivations])(const RowActivationArgs&);
  void (*dropout_forward)(const DropoutArgs&);
  void (*mask_noise)(const NoiseArgs&);
  void (*normal_noise)(const NoiseArgs&);
  void (*add)(const ElementwiseArgs&);  // y = x + saved
  void (*transpose)(const TransposeArgs&);

  // Rows of a data set
  void (*gather[kRowTypes])(const GatherArgs&);
  void (*gather_compressed)(const GatherCompressed&);
  int64_t (*record_rows[kRowTypes])(const RecordRowsArgs&);     // bytes, or kTooManyNonZeros or kTooManyValues
  int64_t (*first_nonfinite[kRowTypes])(const NonFiniteArgs&);  // row, or -1

  // Losses and metrics
  void (*loss[kLosses][kTargets])(const LossRowsArgs&);  // null where `exists` says no
  void (*metric_values[kMetrics][kTargets])(const MetricRowsArgs&);
  void (*metric_sums[kMetricSums][kTargets])(const MetricSumRowsArgs&);

  // Normalization and layers of columns
  void (*column_statistics)(const ColumnStatisticsArgs&);
  void (*standardize_columns)(const StandardizeColumnsArgs&);
  void (*standardize_columns_backward)(const StandardizeColumnsArgs&);
  void (*moving_average)(const MovingAverageArgs&);
  void (*corrections)(const CorrectionsArgs&);
  void (*variance_of)(const VarianceOfArgs&);
  void (*standardize_rows)(const StandardizeRowsArgs&);
  void (*standardize_rows_backward)(const StandardizeRowsArgs&);

  // Tokens and timesteps
  void (*embed)(const EmbedArgs&);
  void (*embed_backward)(const EmbedBackwardArgs&);
  void (*encode)(const EncodeArgs&);
  void (*timestep_mask)(const TimestepMaskArgs&);
  void (*sum_timesteps)(const WeightTimestepsArgs&);
  void (*weight_timesteps)(const WeightTimestepsArgs&);
  void (*max_timesteps)(const MaxTimestepsArgs&);
  void (*max_timesteps_backward)(const MaxTimestepsArgs&);

  // Images
  void (*warp)(const WarpArgs&);

  // Traced functions
  void (*run_map)(const MapBlock&);
  void (*reduce_rows[kCombiningReductions])(const ReduceRowsArgs&);
  void (*combine_rows[kCombiningReductions])(const CombineRowsArgs&);
  void (*extreme_rows)(const ExtremeRowsArgs&);
  int64_t (*first_equal)(const float* x, int64_t n, float number);
  void (*accumulate_rows)(const AccumulateRowsArgs&);
  void (*copy_strided)(const CopyStridedArgs&);
  void (*spread_strided)(const SpreadStridedArgs&);
  IntegerRange (*int32_to_floats)(const int32_t* from, float* to, int64_t n);  // n > 0
  IntegerRange (*int64_to_floats)(const int64_t* from, float* to, int64_t n);  // n > 0
  bool (*floats_to_integers)(const float* from, int32_t* to, int64_t n);       // whether all fit; the memory may be one
  void (*sort_columns)(const SortColumnsArgs&);
  void (*uniform_numbers)(const RandomNumbersArgs&);
  void (*normal_numbers)(const RandomNumbersArgs&);
  void (*truncated_normal_numbers)(const RandomNumbersArgs&);
};

}  // namespace engine
