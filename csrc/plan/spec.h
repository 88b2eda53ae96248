// What a user asked for, as plain data: the input of the plan compiler.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "formulas/kinds.h"
#include "kernels/layer_table.h"
#include "kernels/metric_table.h"
#include "kernels/table.h"

namespace engine {

/// What a variable is made to be after each step.
struct ConstraintSpec {
  enum class Kind { kNone, kNonNegative, kNorm, kHost };
  enum class Over { kColumn, kRow, kAll };  // what there is a norm of each of; a vector is one row
  Kind kind = Kind::kNone;
  Over over = Over::kColumn;
  NormLimits limits = {0.0, 0.0, 1.0};
};

/// What is asked of a variable beside its gradient.
struct VariableSpec {
  double l1 = 0.0, l2 = 0.0;
  double orthogonal = 0.0;  // of rows or columns (kernels/weight_penalties.h)
  bool orthogonal_columns = false;
  bool host_penalty = false;  // one that the caller computes
  ConstraintSpec constraint;
};

struct LayerSpec {
  enum class Kind {
    kDense,
    kActivation,
    kDropout,
    kRescaling,
    kTake,
    kNoise,
    kLearned,
    kBatchNormalization,
    kStandardize,
    kRowNormalization,
    kEmbedding,
    kEncoding,
    kCustom,
    kWarp,
    kActivity,
    kMean,
    kMax,
    kMask,
  };
  enum class Distribution { kMask, kNormal };
  enum class Combination { kMultiply, kAdd, kAlpha };
  Kind kind = Kind::kDense;
  int first = -1;      // number of the layer before whose variables it uses as well; -1: it has its own
  int64_t groups = 1;  // rows per sample for what works on rows, such as dense and softmax
  Activation activation = Activation::kLinear;
  float parameters[kMostParameters] = {};  // of the activation
  // dense
  int64_t units = 0;
  bool use_bias = true;
  bool trainable = true;
  VariableSpec kernel, bias;
  // dropout
  double rate = 0.0;
  uint64_t seed = 0;
  // activity: a penalty on what passes through, which the caller may compute
  double l1 = 0.0, l2 = 0.0;
  bool hosted = false;
  // rescaling
  float scale = 1.0f;
  float offset = 0.0f;
  // take: number j of the output is number take[j] of the input, or 0 for -1
  std::vector<int32_t> take;
  // noise, with `rate` and `seed`: a random mask of 0 and `scale`, or normal numbers with deviation `scale`; `take`
  // says which of them belongs to each number where that isn't its own
  Distribution distribution = Distribution::kMask;
  Combination combination = Combination::kMultiply;
  float mean = 0.0f;
  float kept = 0.0f, dropped = 0.0f;  // kAlpha: added to what the mask keeps, and the rest
  bool shared = false;                // by all samples
  int64_t noises = 0;                 // with `take`: numbers to draw
  // learned: f(x; gain, shift)
  Learned learned = Learned::kScaled;
  bool use_gain = true;
  bool use_shift = true;                 // batch normalization, too
  std::vector<float> constants[2] = {};  // in place of gain and shift, or of mean and variance; padded
  bool shaped = false;                   // whether the user sees the variables of a row ...
  std::vector<int64_t> shape;            // ... in this shape
  // normalization
  Spread spread = Spread::kVariance;
  double momentum = 0.0;
  float epsilon = 0.0f;
  bool centred = true, unit = false;  // of rows
  // batch renormalization (Ioffe, 2017)
  bool renorm = false;
  double renorm_momentum = 0.0;
  CorrectionLimits limits = {};
  // custom: Python makes `units` numbers per sample with the help of variables of any shape
  struct Custom {
    std::vector<int64_t> shape;
    bool trainable;
    VariableSpec asked;
  };
  std::vector<Custom> variables;
  int64_t mask_rows = 0;  // of each output, of which Python says whether they count for anything later; 0: it doesn't
  // warp, with `seed`: what the kernel is told, but for buffers
  Warp warp = {};
  std::vector<int32_t> taps;  // in the middle the one of 0, see Warp
  // embedding (with `units`), encoding
  int64_t tokens = 0;
  bool masks = false;  // whether rows of token 0 count for nothing later ...
  bool counts = false;
  // mean of the rows of each sample, max of their columns; batch_normalization, custom
  bool masked = false;  // ... which heeds it
  // mask, with `offset`: rows that hold nothing else become 0, and count for nothing later
};

/// Whether some rows count for nothing later: those that hold a certain number alone, or those that Python names.
inline bool masks(const LayerSpec& layer) {
  return layer.kind == LayerSpec::Kind::kMask || layer.masks || layer.mask_rows != 0;
}

struct ModelSpec {
  int64_t input_size = 0;
  int64_t output_groups = 1;  // rows of each output, which losses and metrics look at one by one
  std::vector<LayerSpec> layers;
};

/// What the batch's loss is divided by: its rows, nothing, or the sum of their weights.
enum class Reduction { kMean, kSum, kWeightedMean };

struct LossSpec {
  bool host = false;                    // computed by the caller, between two stretches of steps
  Loss kind = Loss::kMeanSquaredError;  // as it reads probabilities, whatever `from_logits` says
  Target target = Target::kDense;
  bool from_logits = false;
  float label_smoothing = 0.0f;
  float parameters[kLossParameters] = {};
  Reduction reduction = Reduction::kMean;
  float weight = 1.0f;             // of the loss beside the regularisation
  bool divides_penalties = false;  // whether penalties on weights are divided as the losses are, as in scikit-learn
  bool ignores = false;            // whether samples of class `ignored` count for nothing
  int32_t ignored = -1;
  bool masked = false;  // whether rows of outputs that the last mask leaves out count for nothing
};

/// The formula that reads logits in place of `loss`; itself where there is none.
inline constexpr Loss from_logits(Loss loss) {
  return loss == Loss::kCrossentropy         ? Loss::kSoftmaxCrossentropy
         : loss == Loss::kBinaryCrossentropy ? Loss::kSigmoidCrossentropy
                                             : loss;
}

/// The formula for the outputs that `spec` is told to expect.
inline Loss formula(const LossSpec& spec) { return spec.from_logits ? from_logits(spec.kind) : spec.kind; }

/// Whether targets 0 and 1 mean -1 and 1 to it.
inline constexpr bool reads_signs(Loss loss) { return loss == Loss::kHinge || loss == Loss::kSquaredHinge; }

struct OptimizerSpec {
  enum class Clip { kNone, kValue, kNorm, kGlobalNorm };
  Optimizer kind = Optimizer::kSgd;
  double parameters[kMaxParameters] = {};
  double initial_slot = 0.0;   // value that the first slot starts from
  std::vector<double> decays;  // decoupled weight decay by variable, per unit of the learning rate; empty: none
  Clip clip = Clip::kNone;
  double limit = std::numeric_limits<double>::infinity();  // of values, or of the norm
  int64_t accumulate = 1;                                  // batches whose gradients make one step
  bool averages = false;                                   // whether a running mean of the weights is kept ...
  double average_momentum = 0.0;
  int64_t overwrite = 0;  // ... which takes the place of the weights every so many steps; 0: never
  // Muon: the matrices that it steps, x = a x + b x x^T x + c (x x^T)^2 x, how often, and what the step's length is
  // multiplied by beside the root of the longer side; 0: neither of both
  std::vector<bool> orthogonalised;
  double quintic[3] = {};
  int64_t rounds = 0;
  double rms_rate = 0.0;

  bool orthogonalises(int variable) const {
    return !orthogonalised.empty() && orthogonalised[static_cast<size_t>(variable)];
  }

  double decay(int variable) const { return decays.empty() ? 0.0 : decays[static_cast<size_t>(variable)]; }
};

struct MetricSpec {
  /// The mean of a value by sample, of a loss by sample, sums of the kernels', or all outputs with their targets.
  enum class Kind { kValue, kLoss, kTally, kScores };
  Kind kind = Kind::kValue;
  Metric value = Metric::kCategoricalAccuracy;
  LossSpec loss;
  Tally tally = Tally::kThresholds;
  bool weighted = false;
  bool masked = false;     // as of the loss, in evaluations
  float threshold = 0.5f;  // of a value; top k: that many
  // Of sums; see TallyRows.
  std::vector<float> thresholds;
  bool even = false, below_zero = false, by_column = false, logits = false;
  int64_t column = -1, top_k = 0;
};

/// Whether the metric is the mean of one value per sample.
inline bool by_sample(const MetricSpec& metric) {
  return metric.kind == MetricSpec::Kind::kValue || metric.kind == MetricSpec::Kind::kLoss;
}

/// Numbers that a metric keeps over a pass, for predictions of `outputs` numbers: sum and weight of the values, or the
/// sums. Scores grow, by output, target and weight.
int64_t state_size(const MetricSpec& metric, int64_t outputs);

struct TrainingSpec {
  LossSpec loss;
  OptimizerSpec optimizer;
  std::vector<MetricSpec> metrics;
  bool host_metrics = false;  // whether the caller looks at the predictions of each batch, too
};

}  // namespace engine
