// The formulas that a graph can name, what is known of each without computing it, and the arguments of an optimizer's
// step. A new formula is a name in an enum and a row in the table below it, and a struct in this folder.
#pragma once
#include <cstddef>
#include <cstdint>

namespace engine {

/// A list of formulas, such as that of all losses.
template <class... Ts>
struct Types {};

/// Whether the rows of a table have the order of the enum that they describe, so that a kind is the place of its row.
template <class Row, size_t N>
constexpr bool is_in_order(const Row (&rows)[N]) {
  for (size_t i = 0; i < N; ++i) {
    if (static_cast<size_t>(rows[i].kind) != i) return false;
  }
  return true;
}

/// The names in a table.
template <size_t N>
struct Names {
  const char* of[N];
  static constexpr int kCount = static_cast<int>(N);
};
template <class Row, size_t N>
constexpr Names<N> names_in(const Row (&rows)[N]) {
  Names<N> names{};
  for (size_t i = 0; i < N; ++i) names.of[i] = rows[i].name;
  return names;
}

/// How products of matrices round their operands where a device has faster units for them. Sums are float32 in all.
enum class Precision {
  kFloat32,
  kTensorFloat32,  // 10 bits of fraction, the exponents of float32
  kBfloat16,       // 7 bits, the exponents of float32
  kFloat16         // 10 bits, numbers up to 65,504
};
inline constexpr const char* kPrecisionNames[] = {"float32", "tensorfloat32", "bfloat16", "float16"};

enum class Activation {
  // Of elements; the gradient reads the output. The first two are fused with products.
  kLinear,
  kRelu,
  kSigmoid,
  kTanh,
  kExponential,
  // Of elements; the gradient reads the input.
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
  // Of rows.
  kSoftmax,
  kLogSoftmax,
  kSparsemax
};
/// Its name, and how many constants it has, which come in the order of Keras' arguments.
struct ActivationRow {
  Activation kind;
  const char* name;
  int parameters;
};
inline constexpr ActivationRow kActivationRows[] = {
    {Activation::kLinear, "linear", 0},
    {Activation::kRelu, "relu", 0},
    {Activation::kSigmoid, "sigmoid", 0},
    {Activation::kTanh, "tanh", 0},
    {Activation::kExponential, "exponential", 0},
    {Activation::kSilu, "silu", 0},
    {Activation::kGelu, "gelu", 0},
    {Activation::kGeluTanh, "gelu_tanh", 0},
    {Activation::kMish, "mish", 0},
    {Activation::kSoftplus, "softplus", 0},
    {Activation::kLogSigmoid, "log_sigmoid", 0},
    {Activation::kSoftsign, "softsign", 0},
    {Activation::kTanhShrink, "tanh_shrink", 0},
    {Activation::kElu, "elu", 1},
    {Activation::kSelu, "selu", 0},
    {Activation::kCelu, "celu", 1},
    {Activation::kSquareplus, "squareplus", 1},
    {Activation::kRelu6, "relu6", 0},
    {Activation::kLeakyRelu, "leaky_relu", 1},
    {Activation::kGeneralRelu, "general_relu", 3},
    {Activation::kHardTanh, "hard_tanh", 0},
    {Activation::kHardSigmoid, "hard_sigmoid", 0},
    {Activation::kHardSilu, "hard_silu", 0},
    {Activation::kSparsePlus, "sparse_plus", 0},
    {Activation::kSparseSigmoid, "sparse_sigmoid", 0},
    {Activation::kSoftShrink, "soft_shrink", 1},
    {Activation::kHardShrink, "hard_shrink", 1},
    {Activation::kThreshold, "threshold", 2},
    {Activation::kSoftmax, "softmax", 0},
    {Activation::kLogSoftmax, "log_softmax", 0},
    {Activation::kSparsemax, "sparsemax", 0},
};
static_assert(is_in_order(kActivationRows), "the rows must have the order of the enum");
inline constexpr auto kActivationNames = names_in(kActivationRows);
inline constexpr int parameter_count(Activation a) { return kActivationRows[static_cast<int>(a)].parameters; }
inline constexpr int kMaxActivationParameters = 3;
/// The last ones work on rows; the ones before them on elements.
inline constexpr int kElementwiseActivations = static_cast<int>(Activation::kSoftmax);
inline constexpr int kRowActivations = kActivationNames.kCount - kElementwiseActivations;
inline constexpr bool is_elementwise(Activation a) { return static_cast<int>(a) < kElementwiseActivations; }
/// Whether the gradient of an elementwise one is a function of the input z; of the first ones it is of the output.
inline constexpr bool saves_input(Activation a) { return is_elementwise(a) && a > Activation::kExponential; }
/// The first ones are applied while a product is in registers; the others, which take many operations per element
/// anyway, pass over it once more. All of them fused would make up most of the compiled code.
inline constexpr int kFusedActivations = 2;
inline constexpr bool is_fused(Activation a) { return static_cast<int>(a) < kFusedActivations; }

/// Class indices, which stand for one-hot rows, or a number for each output.
enum class Target { kSparse, kDense };

/// Losses as the kernels see them: `Softmax`/`Sigmoid` variants read logits and also give the probabilities.
enum class Loss {
  kCrossentropy,
  kSoftmaxCrossentropy,
  kBinaryCrossentropy,
  kSigmoidCrossentropy,
  kBinaryFocalCrossentropy,
  kCategoricalFocalCrossentropy,
  kTversky,
  kGeneralizedCrossentropy,
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
/// The name by which Python asks for a loss, and the form of its targets. Those of logits are chosen from those of
/// probabilities.
struct LossRow {
  Loss kind;
  const char* name;
  Target target = Target::kDense;
};
inline constexpr LossRow kLossRows[] = {
    {Loss::kCrossentropy, "categorical_crossentropy"},
    {Loss::kSoftmaxCrossentropy, "softmax + crossentropy"},
    {Loss::kBinaryCrossentropy, "binary_crossentropy"},
    {Loss::kSigmoidCrossentropy, "sigmoid + binary_crossentropy"},
    {Loss::kBinaryFocalCrossentropy, "binary_focal_crossentropy"},
    {Loss::kCategoricalFocalCrossentropy, "categorical_focal_crossentropy"},
    {Loss::kTversky, "tversky"},
    {Loss::kGeneralizedCrossentropy, "categorical_generalized_cross_entropy", Target::kSparse},
    {Loss::kMeanSquaredError, "mean_squared_error"},
    {Loss::kMeanAbsoluteError, "mean_absolute_error"},
    {Loss::kMeanAbsolutePercentageError, "mean_absolute_percentage_error"},
    {Loss::kMeanSquaredLogarithmicError, "mean_squared_logarithmic_error"},
    {Loss::kHuber, "huber"},
    {Loss::kLogCosh, "log_cosh"},
    {Loss::kCosineSimilarity, "cosine_similarity"},
    {Loss::kKLDivergence, "kl_divergence"},
    {Loss::kPoisson, "poisson"},
    {Loss::kHinge, "hinge"},
    {Loss::kSquaredHinge, "squared_hinge"},
    {Loss::kCategoricalHinge, "categorical_hinge"},
};
static_assert(is_in_order(kLossRows), "the rows must have the order of the enum");
inline constexpr auto kLossNames = names_in(kLossRows);
inline constexpr int kLosses = kLossNames.kCount;
/// Whether the formula leaves probabilities behind, or needs room for them.
inline constexpr bool gives_probabilities(Loss loss) {
  return loss == Loss::kSoftmaxCrossentropy || loss == Loss::kSigmoidCrossentropy ||
         loss == Loss::kCategoricalFocalCrossentropy;
}
/// The formula that reads logits in place of `loss`; `loss` itself where there is none.
inline constexpr Loss from_logits(Loss loss) {
  return loss == Loss::kCrossentropy         ? Loss::kSoftmaxCrossentropy
         : loss == Loss::kBinaryCrossentropy ? Loss::kSigmoidCrossentropy
                                             : loss;
}
/// Whether the loss reads targets 0 and 1 as -1 and 1.
inline constexpr bool reads_signs(Loss loss) { return loss == Loss::kHinge || loss == Loss::kSquaredHinge; }
/// Most numbers that a loss takes beside its targets and outputs.
inline constexpr int kLossParameters = 4;

inline constexpr int kTargets = 2;
/// Every metric by sample or of sums exists for both; of the losses, which are most of the compiled code, those that
/// Keras has for both.
inline constexpr bool exists(Loss loss, Target target) {
  return target == Target::kDense || loss == Loss::kCrossentropy || loss == Loss::kSoftmaxCrossentropy ||
         loss == Loss::kGeneralizedCrossentropy;
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
  kMuon,
  kMuonAdam,  // Muon for what is no matrix, or left out
  kScheduleFreeAdamW
};
/// Most numbers that a rule is set up with.
inline constexpr int kMaxOptimizerParameters = 6;
/// The name of a rule, which its variants share; how many state arrays it keeps per weight; and the names of its
/// numbers in the order of its formula.
struct OptimizerRow {
  Optimizer kind;
  const char* name;
  int slots;
  const char* parameters[kMaxOptimizerParameters];
};
inline constexpr OptimizerRow kOptimizerRows[] = {
    {Optimizer::kSgd, "sgd", 0, {"momentum"}},
    {Optimizer::kMomentum, "sgd", 1, {"momentum"}},
    {Optimizer::kNesterov, "sgd", 1, {"momentum"}},
    {Optimizer::kAdam, "adam", 2, {"beta_1", "beta_2", "epsilon"}},
    {Optimizer::kAmsgrad, "adam", 3, {"beta_1", "beta_2", "epsilon"}},
    {Optimizer::kRmsprop, "rmsprop", 1, {"rho", "momentum", "epsilon"}},
    {Optimizer::kRmspropMomentum, "rmsprop", 2, {"rho", "momentum", "epsilon"}},
    {Optimizer::kRmspropCentered, "rmsprop", 2, {"rho", "momentum", "epsilon"}},
    {Optimizer::kRmspropCenteredMomentum, "rmsprop", 3, {"rho", "momentum", "epsilon"}},
    {Optimizer::kAdamax, "adamax", 2, {"beta_1", "beta_2", "epsilon"}},
    {Optimizer::kNadam, "nadam", 2, {"beta_1", "beta_2", "epsilon"}},
    {Optimizer::kAdagrad, "adagrad", 1, {"epsilon"}},
    {Optimizer::kAdadelta, "adadelta", 2, {"rho", "epsilon"}},
    {Optimizer::kLion, "lion", 1, {"beta_1", "beta_2"}},
    {Optimizer::kFtrl,
     "ftrl",
     2,
     {"exponent", "l1_regularization_strength", "l2_regularization_strength", "l2_shrinkage_regularization_strength",
      "beta"}},
    {Optimizer::kLamb, "lamb", 2, {"beta_1", "beta_2", "epsilon"}},
    {Optimizer::kAdafactor, "adafactor", 3, {"decay", "epsilon_1", "epsilon_2", "clip_threshold"}},
    {Optimizer::kMuon, "muon", 2, {"momentum", "nesterov", "adam_beta_1", "adam_beta_2", "epsilon", "adam_lr_ratio"}},
    {Optimizer::kMuonAdam,
     "muon",
     2,
     {"momentum", "nesterov", "adam_beta_1", "adam_beta_2", "epsilon", "adam_lr_ratio"}},
    {Optimizer::kScheduleFreeAdamW, "schedule_free_adamw", 2, {"beta_1", "beta_2", "epsilon", "warmup_steps"}},
};
inline constexpr int kOptimizers = sizeof kOptimizerRows / sizeof *kOptimizerRows;
inline constexpr const OptimizerRow& optimizer_row(Optimizer o) { return kOptimizerRows[static_cast<int>(o)]; }
static_assert(is_in_order(kOptimizerRows), "the rows must have the order of the enum");
/// The first of them can step weights in the epilogue of the product that gives their gradient.
inline constexpr int kFusedOptimizers = 4;
/// State arrays that it keeps per weight.
inline constexpr int slot_count(Optimizer o) { return optimizer_row(o).slots; }
/// Whether the rule gives a direction, which takes the place of the gradient until its length is known.
inline constexpr bool gives_direction(Optimizer o) {
  return o == Optimizer::kLamb || o == Optimizer::kAdafactor || o == Optimizer::kMuon;
}
/// Whether the first slot of the rule starts as a copy of the weights, which its first step takes.
inline constexpr bool starts_from_weights(Optimizer o) { return o == Optimizer::kScheduleFreeAdamW; }
/// The most slots.
inline constexpr int kMaxSlots = 3;

/// Whether something beside the loss pulls weights towards zero: an l2 penalty, or decoupled weight decay.
enum class Shrinkage { kNone, kSome };
inline constexpr int kShrinkages = 2;
/// What an optimizer needs to know about this step; its constants are derived by its own formula.
struct OptimizerStep {
  double learning_rate;
  int64_t iteration;  // counts from 1
  double parameters[kMaxOptimizerParameters];
  const void* coefficients = nullptr;  // the constants of a fused optimizer, made once for all products; or null
};

/// What becomes of the numbers along axes of an array: their sum, extreme or product, or the index of an extreme.
enum class Reduction { kSum, kMaximum, kMinimum, kProduct, kArgMaximum, kArgMinimum };
inline constexpr const char* kReductionNames[] = {"sum", "max", "min", "prod", "argmax", "argmin"};
/// The first ones combine all numbers to one.
inline constexpr int kCombiningReductions = 4;
inline constexpr bool gives_index(Reduction r) { return static_cast<int>(r) >= kCombiningReductions; }

/// Metrics that are the mean of one value per sample. Losses used as metrics run the kernels of losses.
enum class Metric { kCategoricalAccuracy, kBinaryAccuracy, kTopKCategoricalAccuracy, kAccuracy };
inline constexpr int kMetrics = 4;

/// Metrics that are made from sums over all samples:
/// - kThresholds: (columns or 1, 2, count + 1) weights of outputs by target, 0 or not, and by the thresholds below them
/// - kFScore: (n, 3) weights of true positives, false positives, false negatives by class
/// - kConfusion: (classes, classes) weights by true class and by predicted one
/// - kMoments: (n, 4) of w t, w t^2, w (t - y)^2, w by output, and the number of outputs seen
enum class MetricSum { kThresholds, kFScore, kConfusion, kMoments };
inline constexpr int kMetricSums = 4;

/// The factor that standardizes: 1 / sqrt(variance + epsilon), 1 / max(sqrt(variance), epsilon), or the inverse of the
/// latter.
enum class Spread { kVariance, kDeviation, kInverse };

/// Batch renormalization keeps r within [rmin, rmax] and d within [-dmax, dmax].
struct CorrectionLimits {
  float rmin, rmax, dmax;
};

/// A constrained norm becomes rate clip(norm, low, high) + (1 - rate) norm.
struct NormLimits {
  double low, high, rate;
};

/// What an image is continued by outside of its edges: a constant, its edge, its mirror image, or itself again.
enum class Fill { kConstant, kNearest, kReflect, kWrap };

/// How images are changed at random. Pairs of floats are ranges of uniform random numbers.
struct ImageChanges {
  int64_t height, width, channels;
  float down[2], right[2];  // the shift, as a share of height and width
  float turns[2];           // the rotation, in full turns, counterclockwise
  float zoom[2][2];         // the zoom, as a share by which the visible part grows, by height and by width ...
  bool zooms_alike;         // ... or both by the first
  bool flips[2];            // whether half of the images are flipped top to bottom, and left to right
  float alpha;              // the largest displacement before smoothing, in pixels
  int64_t radius;           // of the filter that smooths displacements; -1: there are none
  Fill fill;
  float fill_value;
  bool nearest;  // reads the nearest pixel; else interpolates between four
  uint64_t seed;
};

}  // namespace engine
