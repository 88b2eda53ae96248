// The closed sets of formulas a plan can name. A new one is a row here and a struct in this room.
#pragma once
#include <cstdint>

namespace engine {

enum class Activation {
  kLinear,
  kRelu,
  kSigmoid,
  kTanh,
  kExponential,
  kSilu,
  kGelu,
  kGeluTanh,
  kMish,
  kSoftplus,
  kLogSigmoid,
  kSoftsign,
  kTanhShrink,
  kElu,
  kSelu,
  kCelu,
  kSquareplus,
  kRelu6,
  kLeakyRelu,
  kGeneralRelu,
  kHardTanh,
  kHardSigmoid,
  kHardSilu,
  kSparsePlus,
  kSparseSigmoid,
  kSoftShrink,
  kHardShrink,
  kThreshold,
  kSoftmax,
  kLogSoftmax,
  kSparsemax
};
inline constexpr const char* kActivationNames[] = {
    "linear",       "relu",        "sigmoid",     "tanh",           "exponential", "silu",         "gelu",
    "gelu_tanh",    "mish",        "softplus",    "log_sigmoid",    "softsign",    "tanh_shrink",  "elu",
    "selu",         "celu",        "squareplus",  "relu6",          "leaky_relu",  "general_relu", "hard_tanh",
    "hard_sigmoid", "hard_silu",   "sparse_plus", "sparse_sigmoid", "soft_shrink", "hard_shrink",  "threshold",
    "softmax",      "log_softmax", "sparsemax"};
/// Constants of an activation, in the order of Keras' arguments.
inline constexpr int parameter_count(Activation a) {
  switch (a) {
    case Activation::kElu:
    case Activation::kCelu:
    case Activation::kSquareplus:
    case Activation::kLeakyRelu:
    case Activation::kSoftShrink:
    case Activation::kHardShrink:
      return 1;
    case Activation::kThreshold:
      return 2;
    case Activation::kGeneralRelu:
      return 3;
    default:
      return 0;
  }
}
inline constexpr int kMostParameters = 3;
/// The last ones work on rows; the ones before them on elements.
inline constexpr int kElementwiseActivations = 28;
inline constexpr int kRowActivations = 3;
inline constexpr bool is_elementwise(Activation a) { return static_cast<int>(a) < kElementwiseActivations; }
/// Whether the gradient of an elementwise one is a function of the input z; of the first ones it is of the output.
inline constexpr bool saves_input(Activation a) { return is_elementwise(a) && a > Activation::kExponential; }
/// The first ones are applied while a product is in registers; the others, which take many operations per element
/// anyway, pass over it once more. All of them fused would make up most of the compiled code.
inline constexpr int kFusedActivations = 2;
inline constexpr bool is_fused(Activation a) { return static_cast<int>(a) < kFusedActivations; }

/// Losses as the kernels see them: `Softmax`/`Sigmoid` variants read logits and also give the probabilities.
enum class Loss {
  kCrossentropy,
  kSoftmaxCrossentropy,
  kBinaryCrossentropy,
  kSigmoidCrossentropy,
  kBinaryFocalCrossentropy,
  kCategoricalFocalCrossentropy,
  kTversky,
  kMeanSquaredError,
  kMeanAbsoluteError,
  kMeanAbsolutePercentageError,
  kMeanSquaredLogarithmicError,
  kHuber,
  kLogCosh,
  kCosineSimilarity,
  kKLDivergence,
  kPoisson,
  kHinge,
  kSquaredHinge,
  kCategoricalHinge,
};
inline constexpr int kLosses = 19;
/// Whether the formula leaves probabilities behind, or needs room for them.
inline constexpr bool gives_probabilities(Loss loss) {
  return loss == Loss::kSoftmaxCrossentropy || loss == Loss::kSigmoidCrossentropy ||
         loss == Loss::kCategoricalFocalCrossentropy;
}
/// Most numbers that a loss takes beside its targets and outputs.
inline constexpr int kLossParameters = 4;

/// Class indices stand for one-hot rows. Every metric by sample or of sums exists for both; of the losses, which are
/// most of the compiled code, those that Keras has for both.
enum class Target { kSparse, kDense };
inline constexpr int kTargets = 2;
inline constexpr bool exists(Loss loss, Target target) {
  return target == Target::kDense || loss == Loss::kCrossentropy || loss == Loss::kSoftmaxCrossentropy;
}

enum class Optimizer {
  kSgd,
  kMomentum,
  kNesterov,
  kAdam,
  kAmsgrad,
  kRmsprop,
  kRmspropMomentum,
  kRmspropCentered,
  kRmspropCenteredMomentum,
  kAdamax,
  kNadam,
  kAdagrad,
  kAdadelta,
  kLion,
  kFtrl,
  kLamb,
  kAdafactor,
  kFactored,  // Adafactor for matrices, whose squared gradients are kept as sums of rows and columns
  kMuon,
  kMuonAdam  // Muon for what is no matrix, or left out
};
inline constexpr int kOptimizers = 20;
/// The first of them can step weights in the epilogue of the product that gives their gradient.
inline constexpr int kFusedOptimizers = 4;
/// State arrays that it keeps per weight.
inline constexpr int slot_count(Optimizer o) {
  switch (o) {
    case Optimizer::kSgd:
      return 0;
    case Optimizer::kMomentum:
    case Optimizer::kNesterov:
    case Optimizer::kRmsprop:
    case Optimizer::kAdagrad:
    case Optimizer::kLion:
      return 1;
    case Optimizer::kAdam:
    case Optimizer::kRmspropMomentum:
    case Optimizer::kRmspropCentered:
    case Optimizer::kAdamax:
    case Optimizer::kNadam:
    case Optimizer::kAdadelta:
    case Optimizer::kFtrl:
    case Optimizer::kLamb:
    case Optimizer::kMuon:
    case Optimizer::kMuonAdam:
      return 2;
    case Optimizer::kAmsgrad:
    case Optimizer::kRmspropCenteredMomentum:
    case Optimizer::kAdafactor:
    case Optimizer::kFactored:
      break;
  }
  return 3;
}
/// Whether the rule gives a direction, which takes the place of the gradient until its length is known.
inline constexpr bool gives_direction(Optimizer o) {
  return o == Optimizer::kLamb || o == Optimizer::kAdafactor || o == Optimizer::kFactored || o == Optimizer::kMuon;
}
/// The most slots.
inline constexpr int kMaxSlots = 3;

/// Whether something beside the loss pulls weights towards zero: an l2 penalty, or decoupled weight decay.
enum class Shrinkage { kNone, kSome };
inline constexpr int kShrinkages = 2;
/// Most numbers that a rule is set up with.
inline constexpr int kMaxParameters = 6;

enum class RowType { kUint8, kFloat32, kFloat64 };
inline constexpr int kRowTypes = 3;

/// Rows of every buffer are padded to whole cache lines, so that no kernel needs a masked store. Pads may hold
/// anything, even NaN: whoever joins the columns of a row leaves them out.
inline constexpr int64_t kLane = 16;

/// Pieces of `size` that cover n; the last may be smaller.
inline constexpr int64_t divide_up(int64_t n, int64_t size) { return (n + size - 1) / size; }
inline constexpr int64_t round_up(int64_t n, int64_t multiple) { return divide_up(n, multiple) * multiple; }

/// A product with at most kLane columns sums its terms in slices of kSlice, which are added in pairs (slices.h): part
/// of the numerical contract. Slices are the units of one cache line, so that whoever has some has whole slices.
inline constexpr int64_t kSlice = kLane;
inline constexpr bool sums_in_slices(int64_t columns) { return columns <= kLane; }

/// Gradients by the input of batches of so few rows, for so many columns, sum their terms in kLane lanes: part of the
/// contract as well.
inline constexpr int64_t kMostLaneRows = 8;
inline constexpr bool sums_in_lanes(int64_t rows, int64_t columns) {
  return rows <= kMostLaneRows && 8 * rows <= columns;
}

/// Gradients by the input of a narrow product turn its kernel, of others what comes from behind, dz.
inline constexpr bool turns_kernel(int64_t columns) { return columns <= kLane; }

/// A half-open range of rows, columns or units. Column ranges start and end at multiples of kLane.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

/// A panel of a matrix, or some columns of it: those count from its first one, which is column `first` of the matrix.
struct Panel {
  int64_t first;
  int64_t offset;  // in floats, from the first panel on
  int64_t width;   // padded, the distance between its rows
  Range columns;
};

/// The most columns of a panel.
inline constexpr int64_t kPanel = 64;

/// Weights (rows, columns) are kept in panels, one after the other, each row-major: a thread's columns are then
/// contiguous. In plain rows the threads' slices alternate every few cache lines, and prefetchers pull lines that
/// another core is writing: 2.3 times the epoch where cores do not share a cache. For two threads, which have one each,
/// both halves of the columns begin with a panel of their own; the last panel of either may be narrower.
struct Panels {
  /// Floats that an L1 cache holds. So small a kernel mostly has one thread, and the wider its panels are, the more
  /// chains of multiply-adds one sample has at a time.
  static constexpr int64_t kUncut = 8 << 10;

  int64_t rows;
  int64_t columns, half;  // padded

  constexpr Panels(int64_t rows, int64_t n)
      : rows(rows),
        columns(round_up(n, kLane)),
        half(rows * columns < kUncut ? columns : round_up(columns / 2, kLane)) {}

  /// The half that has column `j`.
  constexpr Range part(int64_t j) const { return j < half ? Range{0, half} : Range{half, columns}; }

  /// The panel that has column `j`.
  constexpr Panel of(int64_t j) const {
    const Range own = part(j);
    const int64_t first = own.begin + (j - own.begin) / kPanel * kPanel;
    const int64_t width = own.end - first < kPanel ? own.end - first : kPanel;
    return {first, first * rows, width, {0, width}};
  }

  /// Calls f(panel) for each panel that has some of columns [begin, end), with these of it.
  template <class F>
  constexpr void each(Range wanted, F&& f) const {
    for (int64_t j = wanted.begin; j < wanted.end;) {
      Panel panel = of(j);
      const int64_t end = panel.first + panel.width;
      panel.columns = {j - panel.first, (wanted.end < end ? wanted.end : end) - panel.first};
      f(panel);
      j = end;
    }
  }
};

/// Distance between rows of `columns` floats: whole cache lines, never a multiple of 1 KiB. A tile's columns of a few
/// hundred such rows would share a quarter of the L1 cache's sets or less: at 2 KiB, the gradient by the input of
/// 1000-4000-1000 takes 3 times as long at batch 512.
inline constexpr int64_t leading_dimension(int64_t columns) {
  constexpr int64_t kAliased = 1024 / 4;
  const int64_t ld = round_up(columns, kLane);
  return ld % kAliased == 0 ? ld + kLane : ld;
}

}  // namespace engine
