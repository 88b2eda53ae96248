// What a model is compiled with, as plain data: losses, optimizer, metrics.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "formulas/kinds.h"

namespace engine {

namespace graph {
struct TracedFunction;  // graph/model.h
}

/// What the sum of a batch's losses is divided by: its number of rows, nothing, or the sum of their weights.
enum class LossReduction { kMean, kSum, kWeightedMean };

struct LossSpec {
  bool host = false;  // the caller computes it
  std::shared_ptr<const graph::TracedFunction>
      traced;               // a function that a user wrote computes it; null: a formula does
  int64_t target_size = 0;  // numbers in the targets of a sample, where a user's function reads them; 0: as outputs
  Loss kind = Loss::kMeanSquaredError;  // the formula that reads probabilities, whatever `from_logits` says
  Target target = Target::kDense;
  bool from_logits = false;
  float label_smoothing = 0.0f;
  float parameters[kLossParameters] = {};
  LossReduction reduction = LossReduction::kMean;
  float weight = 1.0f;             // of this loss in the sum of all
  bool divides_penalties = false;  // whether penalties on weights are divided as the losses are, as in scikit-learn
  bool ignores = false;            // whether samples of class `ignored` are left out
  int32_t ignored = -1;
  bool masked = false;  // whether the mask of the output leaves out some of its rows
};

/// The formula for the kind of outputs that `spec` was told to expect.
inline Loss formula(const LossSpec& spec) { return spec.from_logits ? from_logits(spec.kind) : spec.kind; }

struct OptimizerSpec {
  enum class Clip { kNone, kValue, kNorm, kGlobalNorm };
  Optimizer kind = Optimizer::kSgd;
  double parameters[kMaxOptimizerParameters] = {};
  double initial_slot = 0.0;   // value that the first slot starts from
  std::vector<double> decays;  // decoupled weight decay by variable, per unit of the learning rate; empty: none
  Clip clip = Clip::kNone;
  double limit = std::numeric_limits<double>::infinity();  // of gradients' elements, or of their norm
  int64_t accumulate = 1;                                  // batches whose gradients make one step
  bool averages = false;                                   // whether it keeps a running mean of the weights ...
  double average_momentum = 0.0;
  int64_t overwrite = 0;  // ... which replaces the weights every so many steps; 0: never
  // Muon: which variables it makes orthogonal, the coefficients of its polynomial a x + b x x^T x + c (x x^T)^2 x, how
  // often that is applied, and the factor of the step's length beside the root of the longer side (0: neither).
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
  /// The mean of one value per row, of a loss per row, or of what a traced function computes for each row; sums that a
  /// kernel makes; or all scores with their targets.
  enum class Kind { kValue, kLoss, kTraced, kSums, kScores };
  Kind kind = Kind::kValue;
  int output = 0;  // number of the model's output that it looks at
  Metric value = Metric::kCategoricalAccuracy;
  LossSpec loss;
  std::shared_ptr<const graph::TracedFunction> traced;
  MetricSum sums = MetricSum::kThresholds;
  bool weighted = false;
  bool masked = false;     // whether evaluations leave out what the mask of the output does
  bool by_batch = false;   // whether it is the mean of one number for each batch, whatever its size
  float threshold = 0.5f;  // of a value; for top-k metrics, k
  // For sums; see MetricSumRowsArgs.
  std::vector<float> thresholds;
  bool even = false, below_zero = false, by_column = false, logits = false;
  int64_t column = -1, top_k = 0;
};

/// Whether the metric is the mean of one value per row.
inline bool by_sample(const MetricSpec& metric) {
  return metric.kind == MetricSpec::Kind::kValue || metric.kind == MetricSpec::Kind::kLoss ||
         metric.kind == MetricSpec::Kind::kTraced;
}

/// Numbers in the state of a metric over a pass, for predictions of `outputs` numbers: sum and weight of the values, or
/// the sums. The state of kScores grows by output, target and weight.
int64_t state_size(const MetricSpec& metric, int64_t outputs);

struct TrainingSpec {
  std::vector<LossSpec> losses = std::vector<LossSpec>(1);  // one for each output of the model
  OptimizerSpec optimizer;
  std::vector<MetricSpec> metrics;
  bool host_metrics = false;  // whether the caller looks at the predictions of each batch, too
};

}  // namespace engine
