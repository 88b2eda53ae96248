// The door between the rooms above and the kernels of one instruction set: argument structs and a table
// of functions. Every matrix is row-major with a leading dimension in floats; rows are padded to kLane.
#pragma once
#include <cstdint>

#include "formulas/kinds.h"
#include "kernels/compressed_rows.h"
#include "kernels/layout.h"
#include "kernels/learning_arguments.h"
#include "kernels/nonzeros.h"

namespace engine {

/// The types of a data set's numbers.
enum class RowType { kUint8, kFloat32, kFloat64 };
inline constexpr int kRowTypes = 3;

/// Rows of a data set to be fetched into the L2 cache while something else is computed.
struct Ahead {
  const void* const* rows = nullptr;
  int64_t count = 0;
  int64_t bytes = 0;  // of each row
};

/// y (rows, n) = activation(x (rows, k) kernel (k, n) + bias (n,)), for one panel of the kernel
struct DenseForward {
  const float* x;
  int64_t ldx;
  const float* kernel;
  int64_t ldw;
  const float* bias;  // (n,) padded, or null
  float* y;
  int64_t ldy;
  int64_t k;
  Range rows, columns;
  const NonZeros* nonzeros = nullptr;           // of x, which is not read where they were found
  bool transposes = false;                      // whether to leave them by input for the gradient
  const float* const* x_rows = nullptr;         // x as pointers to rows that lie anywhere; null: in `x`
  bool in_slices = false;                       // as `sums_in_slices` has it; zeros of `nonzeros` are not skipped then
  const CompressedBatch* compressed = nullptr;  // x, where it comes so
  Ahead ahead = {};                             // rows of x that follow soon
};

/// dx (rows, k) = (dz (rows, n) kernel (k, n)^T) * activation'(saved (rows, k))
struct DenseBackwardInput {
  const float* dz;  // (rows, n), or its transpose (n, rows)
  int64_t lddz;
  const float* kernel;  // in panels
  int64_t k;
  const float* saved;
  float* dx;
  int64_t ldx;  // of saved and dx
  int64_t n, rows;
  Range units;         // slice of k
  bool dz_transposed;  // else the kernel is transposed, a block at a time
};

/// kernel (k, n) by its gradient x (rows, k)^T dz (rows, n) + 2 l2 kernel after kernel -= learning_rate decay kernel,
/// and bias by the column sums of dz; columns of one panel
struct DenseBackwardWeights {
  const float* x;
  int64_t ldx;
  const float* dz;
  int64_t lddz;
  Weights kernel;
  int64_t ldw;
  Weights bias;  // values null: none
  int64_t rows;
  Range units, columns;  // the bias belongs to whoever has unit 0
  OptimizerStep step;
  const NonZeros* nonzeros = nullptr;    // of x, which is not read where they were found
  bool last = true;                      // of the calls for a batch: clears them
  const float* const* x_rows = nullptr;  // x as pointers to rows that lie anywhere; null: in `x`
  Ahead ahead = {};
  const float* gradient = nullptr;  // by units and columns of the kernel, where it is known: x is not read then
  int64_t ldg = 0;
  const CompressedBatch* compressed = nullptr;  // x, where it comes so ...
  const CompressedSums* sums = nullptr;         // ... and scratch for its products
};

/// y = f(x), or dx = f'(saved) dy with x = dy and y = dx, elementwise over rows x columns of equally shaped buffers
struct Elementwise {
  const float* x;
  float* y;
  const float* saved;
  int64_t ld;
  Range rows, columns;
  const float* parameters = nullptr;  // constants of an activation
};

/// y (rows, n) = f(x), row by row, or dx in the backward pass
struct RowActivation {
  const float* x;      // or dy
  const float* saved;  // backward: the output
  float* y;            // or dx; may be x
  int64_t ld, n;
  Range rows;
};

struct Dropout {
  const float* x;
  float* y;
  float* mask;  // same shape as y: 0 or 1 / (1 - rate)
  int64_t ld;
  Range rows, columns;
  double rate;
  uint64_t seed;
  uint64_t step;
  int64_t first;  // number of the first row in the counters
};

struct Gather {
  const void* data;
  int64_t stride;        // elements between rows
  const int32_t* order;  // index of each row, or null for `first`, `first` + 1, ...
  int64_t first;
  float* x;
  int64_t ldx, k;
  float scale, offset;
  Range rows;
  int64_t next;     // position in `order` of the rows to fetch into cache for the next call ...
  int64_t samples;  // ... if below this
};

/// Records of rows, indexed like Gather's: (rows,) pointers to what lies in `out`, one after the other
struct RecordRows {
  const void* data;
  int64_t stride;
  const int32_t* order;
  int64_t first, k;
  float scale;
  Range rows;
  void* scratch;   // (k + kLane,) floats
  Codebook* book;  // for values of float32 and float64, to have codes; null: floats
  uint8_t* out;    // with room for full records, and kLane floats more
  const uint8_t** records;
};
/// Answer of `record_rows` where more than half of the first rows or of all is not zero: records don't pay then.
inline constexpr int64_t kTooManyNonZeros = -1;
/// Where the codebook has no code left for a value.
inline constexpr int64_t kTooManyValues = -2;
/// Rows that tell whether it is worth going on.
inline constexpr int64_t kProbe = 8;

/// Targets of one batch, whose samples are indexed like Gather's rows: `labels` or `dense` (, n) for each row of
/// outputs
struct Targets {
  const int32_t* labels;
  const float* dense;
  const int32_t* order;
  int64_t first;
  int64_t groups = 1;  // rows of each sample

  /// Where row `b` of the batch lies in the data set.
  int64_t row(int64_t b) const {
    const int64_t sample = first + (groups == 1 ? b : b / groups);
    const int64_t at = order ? order[sample] : sample;
    return groups == 1 ? at : at * groups + b % groups;
  }
};

struct LossRows {
  const float* x;  // y_pred, or logits for the Softmax and Sigmoid variants
  float* y_pred;   // their probabilities; may be null
  float* dx;       // null when only the loss is wanted
  int64_t ld, n;
  Targets targets;
  const float* sample_weight;  // by row of the data set's outputs, or null
  float scale;                 // of the gradient, times the sample weight
  float label_smoothing;
  float* losses;  // (rows,), unweighted
  Range rows;
  const float* parameters = nullptr;  // (kLossParameters,), what they mean is up to the loss
  int32_t ignored = -1;               // class index that costs nothing
  bool binary = false;                // all targets of the data set are 0 or 1, which hinges read as -1 or 1
};

/// out (columns, rows) = in (rows, columns)^T
struct Transpose {
  const float* in;
  int64_t ld_in;
  float* out;
  int64_t ld_out;
  Range rows, columns;
};

/// Rows (, k) without gaps
struct NonFinite {
  const void* data;
  int64_t k;
  Range rows;
};

/// Lanes, which are rows of a left or columns of a right operand, copied into panels of equally many, each panel
/// (depth, lanes of the panel) row-major, its first k rows; lanes missing from the last are zero
struct Pack {
  const float* in;
  int64_t lane, next;  // strides between lanes and along k, of any sign
  int64_t lanes, k;
  float* out;  // with room for kLane floats more, which may be written
  int64_t depth;
  const float* const* rows = nullptr;  // of k, whose lanes are contiguous from `first` on, if they lie anywhere
  int64_t first = 0;
};

/// One block of a general product: a (rows, k) b (k, columns) for k of one chain, added to the sums of those before,
/// and after the last c (rows, columns) = activation(sums + bias). Sums that wait are kept in `partial`, tile by tile.
struct Gemm {
  const float* a;
  int64_t a_row, a_next;  // one of them is 1; of no account when packed
  bool a_packed;
  const float* b;           // rows contiguous, but for `b_across`
  int64_t b_row, b_column;  // plain: leading dimension and 1; packed: width of a panel and k; across: 1 and any
  bool b_across;            // for few rows of c, packed but for a single one: columns of b are read where they lie
  bool b_in_parts;          // plain: columns may be any number, no multiple of the vector's width
  int64_t panel;            // columns of a panel
  float* c;
  int64_t c_row, c_column;
  const float* bias;  // or null
  bool bias_by_row;   // one per row of c instead of one per column
  int64_t rows, columns, k;
  float* partial;  // panels of (partial_rows, panel's columns)
  int64_t partial_rows;
  bool first, last;               // chain of the product
  bool from_partial, to_partial;  // else c takes the sums, as at the ends of stretches of k
};

/// a (k,) b (k,)
struct Dot {
  const float* a;
  const float* b;
  int64_t k;
};

/// Sizes that `gemm` and the packing before it agree on.
struct GemmShape {
  int64_t vector;
  int64_t chain;                        // most k of one call
  int64_t rows;                         // of a panel of a
  int64_t columns, single_row_columns;  // of a panel of b; where c has one row only
  int64_t rows_across;                  // for which columns of b are turned in registers, each time
  bool loads_parts;                     // of vectors as quickly as whole ones
};

struct LayerTable;   // in layer_table.h
struct MetricTable;  // in metric_table.h
struct SumPartials;  // in partial_sums.h

struct KernelTable {
  const char* isa;
  const LayerTable* layers;
  const MetricTable* metrics;
  GemmShape gemm_shape;
  void (*pack_rows)(const Pack&);
  void (*pack_columns)(const Pack&);
  void (*pack_single_row_columns)(const Pack&);
  void (*gemm[kFusedActivations])(const Gemm&);
  float (*dot)(const Dot&);
  void (*dense_forward[kFusedActivations])(const DenseForward&);
  void (*sum_partials)(const SumPartials&);
  void (*dense_backward_input[kFusedActivations])(const DenseBackwardInput&);
  void (*dense_backward_weights[kFusedOptimizers][kShrinkages])(const DenseBackwardWeights&);
  void (*coefficients[kFusedOptimizers])(const OptimizerStep&, void* out);  // (kCoefficientBytes,) on a cache line
  void (*dense_gradient)(const DenseBackwardWeights&);                      // stored to the values of kernel and bias
  void (*step_weights[kOptimizers])(const WeightStep&);
  void (*penalty_gradient)(const WeightBlock&, double l1, double l2);  // other += l1 sign(w) + 2 l2 w
  void (*accumulate)(const WeightBlock&);                              // other += w
  void (*take_mean)(const WeightBlock&, int64_t count);                // w = (w + other) / count, other = 0
  void (*unit_rows)(const UnitRows&);
  void (*orthogonal)(const Orthogonal&);
  void (*row_penalties)(const RowPenalties&);
  void (*move)(const WeightBlock&, float factor);         // w -= factor other
  void (*blend)(const WeightBlock&, double a, double b);  // other = a w + b other
  void (*non_negative)(const WeightBlock&);
  void (*column_norms)(const WeightBlock&, const NormLimits&);  // of all of the block's rows
  void (*row_norms)(const RowNorms&);
  void (*factored_rows)(const FactoredMeans&);
  void (*factored_columns)(const FactoredMeans&);
  void (*factored_direction)(const FactoredDirection&);
  void (*factored_flat)(const FactoredFlat&);
  void (*average)(const WeightBlock&, double momentum, bool overwrite);  // other = m other + (1 - m) w; w = other
  void (*activation_forward[kElementwiseActivations])(const Elementwise&);
  void (*activation_backward[kElementwiseActivations])(const Elementwise&);
  void (*row_activation_forward[kRowActivations])(const RowActivation&);
  void (*row_activation_backward[kRowActivations])(const RowActivation&);
  void (*dropout_forward)(const Dropout&);
  void (*multiply)(const Elementwise&);  // y = x * saved
  void (*affine)(const Elementwise&, float scale, float offset);
  void (*transpose)(const Transpose&);
  void (*gather[kRowTypes])(const Gather&);
  void (*gather_compressed)(const GatherCompressed&);
  int64_t (*record_rows[kRowTypes])(const RecordRows&);  // bytes, or one of the answers above
  void (*loss[kLosses][kTargets])(const LossRows&);      // null where `exists` says no
  void (*squared_sums)(const ColumnSums&);
  void (*magnitude_sums)(const ColumnSums&);
  int64_t (*first_nonfinite[kRowTypes])(const NonFinite&);  // row, or -1
  void (*exp)(const Elementwise&);
  void (*log)(const Elementwise&);
  void (*fma)(const float* a, const float* b, const float* c, float* out, int64_t n);  // n: multiple of kLane
};

}  // namespace engine
