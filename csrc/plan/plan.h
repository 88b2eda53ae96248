// A compiled model as data: buffers in one arena, weights in another, and a list of steps. Nothing here runs;
// an executor walks the list, once per batch.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/layout.h"
#include "plan/spec.h"

namespace engine {

/// A weight array (rows, columns) in the parameter arena, in panels; the optimizer's slots, its gradient where that is
/// stored, and what else there is one of per weight lie at the same offset of further arenas.
struct Variable {
  int64_t rows, columns, offset;
  std::vector<int64_t> shape;  // as the user sees it
  VariableSpec asked;          // nothing where nothing is learnt: Keras leaves frozen weights out of the loss
  bool shared = false;         // by several layers, whose gradients add up

  bool is_matrix() const { return shape.size() == 2 && rows == shape[0]; }
  /// Whether what the user sees as matrices lies there as one row, such as a gain of two axes.
  bool is_flat() const { return shape.size() >= 2 && !is_matrix(); }
  /// Sides of the matrices that the user sees, or else of the array.
  int64_t height() const { return is_flat() ? shape[shape.size() - 2] : rows; }
  int64_t width() const { return is_flat() ? shape.back() : columns; }
  /// From its place in an arena to that of the next one, of which another thread may step the beginning.
  int64_t floats() const { return Panels(rows, columns).floats() + kApart; }
};

struct Parameters {
  struct Layer {
    int kernel = -1;  // index of variable; -1 none
    int bias = -1;
    int mean = -1, variance = -1;  // running averages, or of a data set
    int renorm = -1;               // of three: running deviation; mean and deviation that batches are corrected to
    int first = -1;                // of those of a custom layer
  };
  std::vector<Variable> variables;
  std::vector<Layer> layers;  // one per LayerSpec
  int64_t size = 0;           // floats
};

Parameters lay_out(const ModelSpec& model);

/// Scratch memory (rows, columns) of one run.
struct Buffer {
  int64_t rows, columns, ld;
  int64_t offset = 0;       // in the arena, of the first copy
  int64_t groups = 1;       // rows of each sample
  bool alternates = false;  // batches use one half of it and the other in turn
  bool copied = false;      // every thread has its own, which lies among its other copies
};

/// How a step is split over threads: by samples, by units (columns of its output), by inputs (rows of a
/// kernel), not at all (the first thread does it), or every thread does all of it, for a copy of its own.
enum class Split { kSamples, kUnits, kInputs, kNone, kEveryone };

/// What one thread makes of the sums of squares, for each of the learning variables.
enum class Scaling {
  kClip,       // factor of the gradient by its norm
  kClipAll,    // by the norm of all gradients
  kRowMean,    // mean of Adafactor's means of rows
  kTrust,      // Lamb's step: by the norms of weights and direction
  kAdafactor,  // Adafactor's step: by their root mean squares
  kUnit,       // Muon's direction to norm 1
  kMuon,       // Muon's step: by the longer side
};

struct Step {
  enum class Kind {
    kGather,
    kRecord,  // of what is not zero in rows that don't come from the data set as they are
    kDenseForward,
    kPartialProducts,  // of a last layer that is narrow: each thread those of its own inputs ...
    kSumPartials,      // ... and the sums of all
    kActivationForward,
    kRowActivationForward,
    kDropoutForward,
    kAffine,
    kReshape,
    kTake,
    kTakeBackward,
    kNoise,
    kAdd,
    kAlpha,
    kColumnStatistics,
    kStandardizeColumns,
    kStandardizeColumnsBackward,
    kCorrections,
    kMovingAverage,
    kStandardizeRows,
    kStandardizeRowsBackward,
    kLearnedForward,
    kLearnedBackward,
    kLearnedGradients,
    kEmbed,
    kEmbedBackward,
    kEncode,
    kMask,
    kMeanRows,
    kWeighRows,
    kMaxRows,
    kMaxRowsBackward,
    kWarp,
    kCustomForward,
    kCustomBackward,
    kLoss,
    kHost,
    kMetric,
    kTally,
    kPenalty,
    kActivityPenalty,
    kActivityGradient,
    kUnitRows,
    kOrthogonal,
    kReduce,
    kTranspose,
    kDenseBackwardInput,
    kActivationBackward,
    kRowActivationBackward,
    kMultiply,
    kDenseBackwardWeights,
    kAddGradient,
    kPenaltyGradient,
    kSlopeGradient,
    kAccumulate,
    kSquares,
    kWeightSquares,
    kScale,
    kStepWeights,
    kFactoredRows,
    kFactoredColumns,
    kFactoredDirection,
    kFactoredFlat,
    kMove,
    kLoadDirection,   // of a matrix, as rows that are its shorter side long ...
    kGram,            // ... their products ...
    kQuintic,         // ... and what follows from these ...
    kTurnDirection,   // ... for the rows to be multiplied by ...
    kStoreDirection,  // ... and put back
    kAverage,
    kConstrain,
    kStoreOutput,
  };
  Kind kind;
  Split split = Split::kNone;
  bool barrier = false;  // wait for the other threads before this step

  // Buffers by index, -1 none.
  int in = -1;
  int out = -1;
  int saved = -1;     // what a gradient is computed from: an activation, a dropout mask, dz for the weights
  int losses = -1;    // loss: by row of outputs; custom: by sample, beside those of the loss
  int y_pred = -1;    // loss: probabilities, where it reads logits
  int nonzeros = -1;  // of the rows that come in, where a product may skip their zeros ...
  int records = -1;   // ... which the team has recorded for this batch
  int statistics =
      -1;  // of columns: mean, variance, corrections, or largest numbers; of rows: factor, weight of the projection
  int counted = -1;         // (samples, rows of each): 1, or 0 for rows that a mask leaves out of the step
  bool reads_rows = false;  // `in` are the gathered rows, which may be read in the data set instead ...
  int pointers = -1;        // ... through pointers to those of this batch and of the next, if they are in random order
  bool compressed = false;  // the same of compressed rows, which nobody gathers; a gradient then has scratch in `out`
  bool transposed = false;  // whether `in` is the transpose of a gradient
  int room = -1;            // for a product in packed blocks (kernels/packed_blocks.h)
  // Variables by index, -1 none.
  int kernel = -1;
  int bias = -1;
  int mean = -1, variance = -1;
  int index = -1;       // of the layer, the metric, the penalty, or the row of squares
  bool stores = false;  // whether the gradient is stored instead of stepping the weights ...
  bool apart = false;   // ... beside that of a later layer with the same weights, which it is then added to
  Activation activation = Activation::kLinear;
  Loss loss = Loss::kMeanSquaredError;
  Scaling scaling = Scaling::kClip;
  float scale = 1.0f;
  float offset = 0.0f;
};

/// What a variable adds to the loss: a factor times a sum of sums.
struct Penalty {
  enum class Kind { kSquares, kMagnitudes, kOrthogonal, kHost };
  Kind kind;
  int variable;
  double factor;
  int sums = -1;    // (1, sums); of squares and magnitudes (2, sums), which batches use in turn
  int slopes = -1;  // (rows, columns) of the penalty, where they are stored; training alone
  // Scratch of an orthogonal one, whose rows may be the variable's columns, those of the slopes then, too.
  int units = -1;  // (rows, width): its rows, of norm 1
  int norms = -1;  // (1, rows): that they had
};

/// Sums of the penalties on what passes through an operation, one for each row of its output.
struct Activity {
  int sums;
  int64_t groups;
};

/// Whether Python does the step, and the team goes home before.
inline bool is_host(Step::Kind kind) {
  return kind == Step::Kind::kHost || kind == Step::Kind::kCustomForward || kind == Step::Kind::kCustomBackward;
}

/// Most slices of a narrow product's terms that threads sum apart.
inline constexpr int64_t kMostSlices = 64;

struct Plan {
  /// kSample predicts with dropout in force, as Keras' `model(x, training=True)`.
  enum class Mode { kTrain, kEvaluate, kPredict, kSample };
  Mode mode = Mode::kPredict;
  bool compressed = false;  // how the rows come (kernels/compressed_rows.h)
  int threads = 1;
  int64_t max_rows = 0;  // rows of a full batch
  std::vector<Buffer> buffers;
  int64_t arena_size = 0;   // floats
  int64_t copy_stride = 0;  // from one thread's copies to those of the next
  std::vector<Step> steps;
  // Buffers with a meaning to the caller; -1 where the mode has none.
  int y_pred = -1;
  int gradient = -1;  // of the loss by what the loss step reads
  int losses = -1;    // (1, rows)
  int counted = -1;   // (samples, rows of each): 1, or 0 for rows of outputs that a mask leaves out
  int metrics = -1;   // (metrics, rows)
  std::vector<Activity> activities;
  std::vector<Penalty> penalties;
  // Of the variables that are stepped by a stored gradient (plan/learning.h); -1 where there are none.
  std::vector<int> learning;
  int gradients = -1;  // (1, all weights): laid out like the parameter arena
  int apart = -1;      // the same, of layers with weights that a later one has as well
  int squares = -1;    // (2 of `learning`, widest): column sums of squares of the gradients, then of the weights
  int scales = -1;     // (1, of `learning`): what one thread made of them
};

/// `compressed`: how the rows come. `threads` is the most the plan may be run with; small work gets fewer.
Plan compile(const ModelSpec& model, const Parameters& parameters, const TrainingSpec& training, Plan::Mode mode,
             bool compressed, int64_t max_rows, int threads);

/// Appends a buffer of scratch; returns its index. Throws std::length_error where no machine has that much.
int add_buffer(Plan& plan, int64_t rows, int64_t columns);

/// Appends scratch for the NonZeros of a batch; returns its index.
int add_nonzeros(Plan& plan, int64_t inputs);

/// Appends scratch for the TeamRecords of a batch; returns its index.
int add_team_records(Plan& plan, int64_t inputs);

/// Appends scratch for the CompressedSums of a batch; returns its index.
int add_compressed_sums(Plan& plan, int64_t inputs);

/// Appends scratch for products of so many rows in packed blocks, and for one block of a gradient; returns its index.
int add_packed_room(Plan& plan, int64_t rows);

/// Appends scratch for pointers to the rows of two batches; returns its index.
int add_pointers(Plan& plan);

/// Gives every thread its own copy of the buffer added last.
void give_copies(Plan& plan, int buffer);

/// Gives every thread its own copy of the buffers of which it uses its own columns alone: where rows hold columns of
/// several threads side by side, prefetchers pull lines that another core is writing.
void separate_columns(Plan& plan);

/// Says where in the arena the buffers lie: first those that threads share, then the copies of each thread. Throws
/// std::length_error where no machine has that much.
void place_buffers(Plan& plan);

/// Marks the steps that must wait for other threads, from what each step reads and writes.
void place_barriers(Plan& plan);

}  // namespace engine
